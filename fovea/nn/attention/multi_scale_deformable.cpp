#include "fovea/nn/attention/multi_scale_deformable.h"

#include <torch/nn/init.h>

#include <string>

#include "fovea/core/error.h"
#include "fovea/nn/attention/sampling_points.h"
#include "fovea/ops/describe.h"

namespace fovea::nn {
namespace {

constexpr const char* kMultiScale = "multi_scale_deformable";

void fill_projection(Linear& projection) {
  torch::nn::init::xavier_uniform_(projection->weight);
  torch::nn::init::zeros_(projection->bias);
}

}  // namespace

MultiScaleDeformableAttentionImpl::MultiScaleDeformableAttentionImpl(
    const MultiScaleDeformableOptions& options)
    : options_(options) {
  const auto& [width, levels, heads, points] = options_;
  if (width < 1 || levels < 1 || heads < 1 || points < 1 || width % heads != 0) {
    throw usage_error(kMultiScale, "all sizes must be 1 or more, and n_heads divide d_model",
                      "d_model " + std::to_string(width) + ", n_levels " + std::to_string(levels) +
                          ", n_heads " + std::to_string(heads) + ", n_points " + std::to_string(points),
                      "256, 4, 8 and 4 are the paper's.");
  }
  sampling_offsets = register_module("sampling_offsets", Linear(width, heads * levels * points * 2));
  attention_weights = register_module("attention_weights", Linear(width, heads * levels * points));
  value_proj = register_module("value_proj", Linear(width, width));
  output_proj = register_module("output_proj", Linear(width, width));
  start_points(sampling_offsets, attention_weights, star_offsets(heads, levels, points));
  fill_projection(value_proj);
  fill_projection(output_proj);
}

void MultiScaleDeformableAttentionImpl::check(const at::Tensor& query, const at::Tensor& reference,
                                              const at::Tensor& input,
                                              const std::optional<at::Tensor>& seen) const {
  const std::string found =
      "query " + describe(query) + ", reference " + describe(reference) + ", input " + describe(input);
  const bool rows = query.dim() == 3 && input.dim() == 3 && query.size(2) == options_.d_model &&
                    input.size(2) == options_.d_model && query.size(0) == input.size(0);
  const bool places = rows && reference.dim() == 4 && reference.size(0) == query.size(0) &&
                      reference.size(1) == query.size(1) && reference.size(2) == options_.n_levels &&
                      (reference.size(3) == 2 || reference.size(3) == 4);
  if (!places) {
    throw usage_error(
        kMultiScale,
        "query (B, N, d_model), reference (B, N, n_levels, 2 or 4) and input (B, S, d_model) must fit", found,
        "References are (x, y), or (x, y, width, height).");
  }
  if (seen && (!seen->sizes().equals(input.sizes().slice(0, 2)) || seen->scalar_type() != at::kBool)) {
    throw usage_error(kMultiScale, "seen must be boolean, (B, S)", describe(*seen),
                      "True where there is a value.");
  }
  const at::Tensor points = reference.detach();
  if (!points.is_meta() && !points.ge(0).bitwise_and(points.le(1)).all().item<bool>()) {
    throw usage_error(kMultiScale, "references must lie in 0 ... 1", "one outside",
                      "They are parts of the map's width and height.");
  }
}

at::Tensor MultiScaleDeformableAttentionImpl::forward(const at::Tensor& query, const at::Tensor& reference,
                                                      const at::Tensor& input,
                                                      const std::vector<MapShape>& maps,
                                                      const std::optional<at::Tensor>& seen) {
  check(query, reference, input, seen);
  const auto& [width, levels, heads, points] = options_;
  if (static_cast<int64_t>(maps.size()) != levels) {
    throw usage_error(kMultiScale, "there must be a map for each level",
                      std::to_string(maps.size()) + " maps, n_levels " + std::to_string(levels),
                      "Give n_levels maps.");
  }
  at::Tensor values = value_proj->forward(input);
  if (seen) values = values.masked_fill(seen->bitwise_not().unsqueeze(2), 0.0);
  const at::Tensor offsets = sampling_offsets->forward(query).unflatten(2, {heads, levels, points, 2}),
                   weights = point_weights(attention_weights->forward(query), heads, levels);
  const at::Tensor out = deformable_attend(values.unflatten(2, {heads, width / heads}).transpose(1, 2), maps,
                                           sampling_locations(reference, offsets, maps), weights);
  return output_proj->forward(out.transpose(1, 2).flatten(2));
}

}  // namespace fovea::nn
