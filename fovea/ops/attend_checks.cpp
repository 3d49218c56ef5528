#include "fovea/ops/attend_checks.h"

#include <array>
#include <cmath>
#include <limits>
#include <variant>

#include "fovea/core/error.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/describe.h"

namespace fovea {
namespace {

class Operands {
 public:
  Operands(const char* where, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)
      : where_(where), q_(q), k_(k), v_(v) {}

  void check_shapes() const {
    if (q_.dim() != 4 || k_.dim() != 4 || v_.dim() != 4) {
      refuse_operands("q, k and v must have 4 dimensions (B, H, T, D)",
                      "Add the missing dimensions with unsqueeze.");
    }
    if (q_.size(3) != k_.size(3))
      refuse_operands("q and k must share head_dim", "Project k to the size of q.");
    if (q_.size(0) != k_.size(0) || q_.size(0) != v_.size(0)) {
      refuse_operands("q, k and v must share the batch size", "Expand the smaller ones.");
    }
    if (k_.size(1) != v_.size(1) || k_.size(2) != v_.size(2)) {
      refuse_operands("k and v must share heads and length", "Give every key one value.");
    }
    const bool grouped = k_.size(1) > 0 && q_.size(1) % k_.size(1) == 0;
    if (!grouped && q_.size(1) != k_.size(1)) {
      refuse_operands("the heads of q must be a multiple of those of k", "Repeat the heads of k and v.");
    }
  }

  void check_types() const {
    if (!q_.is_floating_point()) {
      refuse_operands("q, k and v must hold floating point numbers", "Convert them.");
    }
    if (q_.scalar_type() != k_.scalar_type() || q_.scalar_type() != v_.scalar_type()) {
      refuse_operands("q, k and v must share one type", "Convert them to the type of q.");
    }
    if (q_.device() != k_.device() || q_.device() != v_.device()) {
      refuse_operands("q, k and v must be on one device", "Move them to the device of q.");
    }
  }

 private:
  [[noreturn]] void refuse_operands(const char* rule, const char* remedy) const {
    throw usage_error(where_, rule, "q " + describe(q_) + ", k " + describe(k_) + ", v " + describe(v_),
                      remedy);
  }

  const char* where_;
  const at::Tensor &q_, &k_, &v_;
};

bool broadcasts(const at::Tensor& t, at::IntArrayRef shape) {
  const auto dims = static_cast<int64_t>(shape.size());
  if (t.dim() > dims) return false;
  for (int64_t d = 1; d <= t.dim(); ++d) {
    if (t.size(-d) != 1 && t.size(-d) != shape[dims - d]) return false;
  }
  return true;
}

// int64 holds them all.
bool is_integer(const at::Tensor& t) {
  return at::isIntegralType(t.scalar_type(), /*includeBool=*/false) && t.scalar_type() != at::kUInt64;
}

void check_device(const char* where, const at::Tensor& t, const at::Tensor& q, const char* name) {
  if (t.device() == q.device()) return;
  throw usage_error(where, std::string(name) + " must be on the device of q",
                    describe(t) + ", q " + describe(q), "Move it.");
}

// In float32, which kernels compute in.
bool is_number(double x) { return std::abs(x) <= std::numeric_limits<float>::max(); }

void check_numbers(const char* where, const AttendOptions& options) {
  if (options.scale && !is_number(*options.scale)) {
    throw usage_error(where, "the scale must be finite", describe_number(*options.scale),
                      "Leave it empty for 1 / sqrt(D).");
  }
  if (options.softcap && !(*options.softcap >= 1e-30 && *options.softcap <= 1e30)) {
    throw usage_error(where, "softcap must be above 0, within 1e-30 ... 1e30",
                      describe_number(*options.softcap), "Leave it empty for scores without a cap.");
  }
  if (!(options.dropout_p >= 0.0 && options.dropout_p < 1.0)) {
    throw usage_error(where, "dropout_p must be in [0, 1)", describe_number(options.dropout_p),
                      "It is the part that is dropped.");
  }
  if (!options.window) return;
  for (const auto side : {options.window->left, options.window->right}) {
    if (side.value_or(0) < 0) {
      throw usage_error(where, "the sides of a window must not be negative", std::to_string(*side),
                        "It is a number of keys, 0 for none on that side, empty for all.");
    }
  }
}

void check_per_head(const char* where, const at::Tensor& q, const PerHead& numbers, const char* name) {
  const auto* tensor = std::get_if<at::Tensor>(&numbers);
  if (!tensor) return;
  if (!tensor->is_floating_point() || !tensor->sizes().equals({q.size(1)})) {
    throw usage_error(where, std::string(name) + " must be one number, or one for each head of q, (H)",
                      describe(*tensor) + " with q " + describe(q), "Give each head its number.");
  }
  check_device(where, *tensor, q, name);
}

void check_similarity(const char* where, const at::Tensor& q, const AttendOptions& options) {
  if (!std::holds_alternative<ScaledDot>(options.similarity)) {
    if (options.scale) {
      throw usage_error(where, "scale is of the scaled dot product", "another similarity",
                        "Give a Cosine its own scale, or a Gaussian its width.");
    }
    if (options.relative_keys) {
      throw usage_error(where, "relative_keys need the scaled dot product", "another similarity",
                        "Leave the similarity out.");
    }
  }
  if (const auto* cosine = std::get_if<Cosine>(&options.similarity)) {
    check_per_head(where, q, cosine->scale, "the scale of a cosine");
    const double* scale = std::get_if<double>(&cosine->scale);
    if (scale && !is_number(*scale)) {
      throw usage_error(where, "the scale of a cosine must be finite", describe_number(*scale),
                        "1 leaves it as it is.");
    }
  }
  if (const auto* gaussian = std::get_if<Gaussian>(&options.similarity)) {
    check_per_head(where, q, gaussian->width, "the width of a Gaussian");
    const double* width = std::get_if<double>(&gaussian->width);
    if (width && !(*width >= 1e-15 && *width <= 1e15)) {
      throw usage_error(where, "the width of a Gaussian must be above 0, within 1e-15 ... 1e15",
                        describe_number(*width), "It is a distance.");
    }
  }
}

void check_grid(const char* where, const at::Tensor& q, const at::Tensor& k, const AttendGrid& grid) {
  const auto& [table, height, width] = grid;
  const std::string found = describe(table) + " for a grid of " + describe_shape({height, width}) +
                            ", with q " + describe(q) + ", k " + describe(k);
  if (height < 1 || width < 1 || q.size(2) != height * width || k.size(2) != height * width) {
    throw usage_error(where, "queries and keys must be the height times width positions of relative_grid",
                      found, "Give a window at a time, as a batch entry.");
  }
  const bool fits = table.is_floating_point() && table.dim() == 2 &&
                    (table.size(0) == 1 || table.size(0) == q.size(1)) &&
                    table.size(1) == (2 * height - 1) * (2 * width - 1);
  if (!fits) {
    throw usage_error(
        where, "the table of relative_grid must be (H|1, (2 height - 1)(2 width - 1)) floating point numbers",
        found, "Transpose a table that has a column a head.");
  }
  check_device(where, table, q, "the table of relative_grid");
}

void check_relative_keys(const char* where, const at::Tensor& q, const at::Tensor& keys) {
  const bool fits = keys.is_floating_point() && keys.dim() == 3 &&
                    (keys.size(0) == 1 || keys.size(0) == q.size(1)) && keys.size(1) % 2 == 1 &&
                    keys.size(2) == q.size(3);
  if (!fits) {
    throw usage_error(where,
                      "relative_keys must be (H|1, 2 R + 1, D) floating point numbers, from distance -R to R",
                      describe(keys) + " with q " + describe(q), "Give it an odd number of keys.");
  }
  check_device(where, keys, q, "relative_keys");
}

void check_biases(const char* where, const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
  const std::array<int64_t, 4> scores = {q.size(0), q.size(1), q.size(2), k.size(2)};
  if (options.bias) {
    const at::Tensor& bias = *options.bias;
    if (!bias.is_floating_point() || !broadcasts(bias, scores)) {
      throw usage_error(where,
                        "the bias must hold floating point numbers and be broadcastable to (B, H, N, M)",
                        describe(bias), "Give it the shape (B|1, H|1, N|1, M|1).");
    }
    check_device(where, bias, q, "the bias");
  }
  if (options.alibi_slopes) {
    const at::Tensor& slopes = *options.alibi_slopes;
    const bool fits = slopes.is_floating_point() &&
                      (slopes.sizes().equals({q.size(1)}) || slopes.sizes().equals({q.size(0), q.size(1)}));
    if (!fits) {
      throw usage_error(where, "alibi_slopes must hold a number for each head of q, (H) or (B, H)",
                        describe(slopes) + " with q " + describe(q), "Give each head its slope.");
    }
    check_device(where, slopes, q, "alibi_slopes");
  }
  if (options.relative_table) {
    const at::Tensor& table = *options.relative_table;
    const bool fits = table.is_floating_point() && table.dim() == 2 &&
                      (table.size(0) == 1 || table.size(0) == q.size(1)) && table.size(1) % 2 == 1;
    if (!fits) {
      throw usage_error(
          where, "relative_table must be (H|1, 2 R + 1) floating point numbers, from distance -R to R",
          describe(table) + " with q " + describe(q), "Give it a row a head and an odd length.");
    }
    check_device(where, table, q, "relative_table");
  }
  if (options.relative_grid) check_grid(where, q, k, *options.relative_grid);
  if (options.relative_keys) check_relative_keys(where, q, *options.relative_keys);
}

void check_ids(const char* where, const at::Tensor& ids, int64_t batch, int64_t length, const char* name) {
  if (!is_integer(ids) || !ids.sizes().equals({batch, length})) {
    throw usage_error(
        where,
        std::string(name) + " must be integers of shape (B, length) = " + describe_shape({batch, length}),
        describe(ids), "Give each position the number of its segment.");
  }
  if (ids.is_meta() || ids.scalar_type() == at::kInt) return;
  const at::Tensor whole = ids.to(at::kLong);
  if (!whole.to(at::kInt).to(at::kLong).equal(whole)) {
    throw usage_error(where, std::string(name) + " must fit into 32 bits", "larger numbers",
                      "Count the segments from 0.");
  }
}

void check_masks(const char* where, const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
  const std::array<int64_t, 4> scores = {q.size(0), q.size(1), q.size(2), k.size(2)};
  if (options.mask) {
    if (options.mask->scalar_type() != at::kBool || !broadcasts(*options.mask, scores)) {
      throw usage_error(where, "the mask must be boolean and broadcastable to (B, H, N, M)",
                        describe(*options.mask),
                        "true means: may attend. Give numbers that are to be added as `bias`.");
    }
    check_device(where, *options.mask, q, "the mask");
  }
  if (options.key_lengths &&
      (!is_integer(*options.key_lengths) || !options.key_lengths->sizes().equals({q.size(0)}))) {
    throw usage_error(where, "key_lengths must be integers of shape (B)",
                      describe(*options.key_lengths) + " with q " + describe(q),
                      "Give each batch entry its number of keys.");
  }
  if (options.segments) {
    check_ids(where, options.segments->query_ids, q.size(0), q.size(2), "segments.query_ids");
    check_ids(where, options.segments->key_ids, q.size(0), k.size(2), "segments.key_ids");
  }
}

void check_blocks(const char* where, const at::Tensor& q, const at::Tensor& k, const AttendBlocks& blocks) {
  if (blocks.size < 1) {
    throw usage_error(where, "the size of a block must be at least 1", std::to_string(blocks.size),
                      "Give the positions of a block.");
  }
  const auto count = [&](int64_t length) { return length == 0 ? 0 : (length - 1) / blocks.size + 1; };
  const std::array<int64_t, 4> shape = {q.size(0), q.size(1), count(q.size(2)), count(k.size(2))};
  const at::Tensor& mask = blocks.mask;
  const bool fits = mask.scalar_type() == at::kBool && mask.dim() == 4 && broadcasts(mask, shape) &&
                    mask.size(2) == shape[2] && mask.size(3) == shape[3];
  if (!fits) {
    throw usage_error(where, "the mask of blocks must be boolean, (B|1, H|1, ceil(N / size), ceil(M / size))",
                      describe(mask) + " where " + describe_shape(shape) + " would fit",
                      "true means: the block may attend.");
  }
  check_device(where, mask, q, "the mask of blocks");
}

void check_normaliser(const char* where, const at::Tensor& q, const AttendOptions& options) {
  if (const auto* sink = std::get_if<SoftmaxSink>(&options.normaliser); sink && sink->scores) {
    if (!sink->scores->is_floating_point() || !sink->scores->sizes().equals({q.size(1)})) {
      throw usage_error(where, "the scores of a sink must hold a number for each head of q, (H)",
                        describe(*sink->scores) + " with q " + describe(q), "Leave them empty for 0.");
    }
    check_device(where, *sink->scores, q, "the sink");
  }
  if (const auto* entmax = std::get_if<Entmax>(&options.normaliser)) {
    check_per_head(where, q, entmax->alpha, "the alpha of entmax");
    const double* alpha = std::get_if<double>(&entmax->alpha);
    if (alpha && !(*alpha > 1.0 && *alpha <= 2.0)) {
      throw usage_error(where, "the alpha of entmax must be above 1 and at most 2", describe_number(*alpha),
                        "Towards 1 it is softmax, at 2 sparsemax.");
    }
  }
  const auto* sigmoid = std::get_if<Sigmoid>(&options.normaliser);
  if (sigmoid && sigmoid->bias && !is_number(*sigmoid->bias)) {
    throw usage_error(where, "the bias of a sigmoid must be finite", describe_number(*sigmoid->bias),
                      "Leave it empty for -log(M).");
  }
  if (options.lse && !has_lse(options.normaliser)) {
    throw usage_error(where, "lse needs a softmax, with or without sink", normaliser_name(options.normaliser),
                      "Other weights have no log-sum-exp.");
  }
}

}  // namespace

void check_attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttendOptions& options,
                  const char* where) {
  const Operands operands(where, q, k, v);
  operands.check_shapes();
  operands.check_types();
  check_numbers(where, options);
  check_similarity(where, q, options);
  check_biases(where, q, k, options);
  check_masks(where, q, k, options);
  check_normaliser(where, q, options);
  if (options.blocks) check_blocks(where, q, k, *options.blocks);
  if (options.functors) options.functors->require({q.size(0), q.size(1), q.size(2), k.size(2)});
}

}  // namespace fovea
