#include "fovea/ops/deformable_attend.h"

#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/deformable_attend_composed.h"
#include "fovea/ops/deformable_attend_fused.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/finite.h"
#include "fovea/ops/verbose.h"

namespace fovea {
namespace {

constexpr const char* kDeformable = "deformable_attend";

std::string describe_call(const at::Tensor& v, const at::Tensor& locations, const at::Tensor& weights) {
  return "v " + describe(v) + ", locations " + describe(locations) + ", weights " + describe(weights);
}

void check_maps(const at::Tensor& v, const std::vector<MapShape>& maps) {
  if (maps.empty())
    throw usage_error(kDeformable, "there must be a map", "none", "Give its rows and columns.");
  int64_t places = 0;
  std::string text;
  for (const MapShape& map : maps) {
    text += (text.empty() ? "" : ", ") + std::to_string(map.rows) + " x " + std::to_string(map.columns);
    int64_t count = 0;
    if (map.rows < 1 || map.columns < 1) {
      throw usage_error(kDeformable, "a map must have rows and columns", text, "Leave empty maps out.");
    }
    const bool overflows = __builtin_mul_overflow(map.rows, map.columns, &count) ||
                           __builtin_add_overflow(places, count, &places);
    if (overflows || places > v.size(2)) {
      places = -1;
      break;
    }
  }
  if (places != v.size(2)) {
    throw usage_error(kDeformable, "the places of the maps must sum to the values",
                      "maps of " + text + ", v " + describe(v),
                      "Maps stand behind each other in v, row by row.");
  }
}

void check_shapes(const at::Tensor& v, const std::vector<MapShape>& maps, const at::Tensor& locations,
                  const at::Tensor& weights) {
  const std::string found = describe_call(v, locations, weights);
  if (v.dim() != 4 || locations.dim() != 6 || weights.dim() != 5 || locations.size(5) != 2) {
    throw usage_error(
        kDeformable,
        "the shapes must be v (B, H, S, D), locations (B, H, N, L, P, 2), weights (B, H, N, L, P)", found,
        "Add what is missing with unsqueeze; 2 are x and y.");
  }
  if (!locations.sizes().slice(0, 5).equals(weights.sizes()) ||
      !v.sizes().slice(0, 2).equals(weights.sizes().slice(0, 2))) {
    throw usage_error(kDeformable,
                      "v, locations and weights must share B, H, N, L and P where they have them", found,
                      "Give each point a weight.");
  }
  check_maps(v, maps);
  if (weights.size(3) != static_cast<int64_t>(maps.size())) {
    throw usage_error(kDeformable, "there must be points for each map",
                      found + ", " + std::to_string(maps.size()) + " maps", "L is the number of maps.");
  }
}

void check_call(const at::Tensor& v, const std::vector<MapShape>& maps, const at::Tensor& locations,
                const at::Tensor& weights) {
  check_shapes(v, maps, locations, weights);
  const std::string found = describe_call(v, locations, weights);
  if (!v.is_floating_point() || !locations.is_floating_point() || !weights.is_floating_point()) {
    throw usage_error(kDeformable, "all must hold floating point numbers", found, "Convert them.");
  }
  if (v.device() != locations.device() || v.device() != weights.device()) {
    throw usage_error(kDeformable, "all must be on one device", found, "Move them to the device of v.");
  }
  if (!all_finite({locations})) {
    throw usage_error(kDeformable, "locations must be finite", "NaN or an infinity among locations",
                      "Look at what computes the offsets.");
  }
}

}  // namespace

std::optional<std::string_view> why_not_deformable_fused(const at::Tensor& v, const at::Tensor& locations,
                                                         const at::Tensor& weights) {
  for (const at::Tensor* t : {&v, &locations, &weights}) {
    if (!is_plain(*t)) return "a tensor is not a plain one on the CPU";
    if (t->scalar_type() == at::kDouble) return "a tensor is float64";
  }
  if (!kernel_type(v.scalar_type())) return "no kernel has the type";
  if (v.size(2) >= kLongestKernel) return "a map may not have 2^29 places";
  return std::nullopt;
}

at::Tensor deformable_attend(const at::Tensor& v, const std::vector<MapShape>& maps,
                             const at::Tensor& locations, const at::Tensor& weights) {
  check_call(v, maps, locations, weights);
  const auto refusal = why_not_deformable_fused(v, locations, weights);
  if (reports_dispatch()) {
    report_dispatch("deformable_attend " + describe_call(v, locations, weights) +
                    (refusal ? ": composed; not fused: " + std::string(*refusal) : ": fused"));
  }
  return refusal ? deformable_attend_composed(v, maps, locations, weights)
                 : deformable_attend_fused(v, maps, locations, weights);
}

}  // namespace fovea
