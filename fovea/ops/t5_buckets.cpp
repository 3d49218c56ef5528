#include "fovea/ops/t5_buckets.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/where.h>

#include <cmath>
#include <string>

#include "fovea/core/error.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

constexpr const char* kBuckets = "t5_buckets";

}  // namespace

at::Tensor t5_buckets(const at::Tensor& distances, int64_t num_buckets, const T5Buckets& buckets) {
  if (distances.scalar_type() != at::kLong) {
    throw usage_error(kBuckets, "distances must be int64", describe(distances), "Convert them.");
  }
  const int64_t side = buckets.bidirectional ? num_buckets / 2 : num_buckets, exact = side / 2;
  if (exact < 1 || buckets.max_distance <= exact) {
    throw usage_error(kBuckets, "half of the buckets of a side must be at least 1 and below max_distance",
                      std::to_string(exact) + " of " + std::to_string(num_buckets) + " with max_distance " +
                          std::to_string(buckets.max_distance),
                      "Give more buckets, or a larger max_distance.");
  }
  const at::Tensor reach = buckets.bidirectional ? distances.abs() : -distances.clamp_max(0);
  // Each step rounded to float32, in this order: another would move distances to the next bucket. So would a
  // logarithm in float32, whose last digit is another on each machine.
  const double octaves = std::log(static_cast<double>(buckets.max_distance) / static_cast<double>(exact));
  const at::Tensor ratio = reach.to(at::kFloat) / exact;
  const at::Tensor steps = ratio.to(at::kDouble).log().to(at::kFloat) / octaves * (side - exact);
  // Where they are used they are not negative.
  const at::Tensor far = (steps.clamp(0, side).to(at::kLong) + exact).clamp_max(side - 1);
  const at::Tensor bucket = at::where(reach < exact, reach, far);
  return buckets.bidirectional ? bucket + (distances > 0).to(at::kLong) * side : bucket;
}

at::Tensor t5_relative_table(const at::Tensor& embedding, const T5Buckets& buckets) {
  if (embedding.dim() != 2 || !embedding.is_floating_point()) {
    throw usage_error(kBuckets, "the embedding must be (num_buckets, H) floating point numbers",
                      describe(embedding), "Give a row for each bucket.");
  }
  const at::Tensor distances = at::arange(-buckets.max_distance, buckets.max_distance + 1,
                                          embedding.options().dtype(at::kLong).requires_grad(false));
  return embedding.index_select(0, t5_buckets(distances, embedding.size(0), buckets)).t();
}

}  // namespace fovea
