#pragma once
#include <ATen/ATen.h>

#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "fovea/core/random.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_functors.h"
#include "tests/support/numbers.h"

// The case table of attend(): what tests of whole calls draw from.

namespace fovea::test {

/// One call of attend(): sizes, type, memory layout, and which functors.
struct AttendCase {
  int64_t batch, heads, kv_heads, queries, keys, dim, value_dim;
  at::ScalarType type;
  std::string layout, functors;

  std::string name() const {
    return std::to_string(batch) + "x" + std::to_string(heads) + "/" + std::to_string(kv_heads) + " N " +
           std::to_string(queries) + " M " + std::to_string(keys) + " D " + std::to_string(dim) + " Dv " +
           std::to_string(value_dim) + " " + c10::toString(type) + " " + layout + " " + functors;
  }
};

inline const std::vector<std::string>& layouts() {
  static const std::vector<std::string> all = {"contiguous", "BTHD", "padded", "broadcast"};
  return all;
}

/// Of softmax without dropout.
inline const std::vector<std::string>& functor_names() {
  static const std::vector<std::string> all = {
      "none",          "causal",    "bottom_right", "window",      "window_option", "dilated",  "prefix",
      "global",        "lengths",   "segments",     "documents",   "blocks",        "mask",     "mask_keys",
      "mask_queries",  "softcap",   "alibi",        "alibi_entry", "not_causal",    "relative", "bias",
      "bias_expanded", "bias_keys", "bias_heads",   "everything"};
  return all;
}

/// What is of the products of q and k alone, so of attend() but not of additive_attend().
inline const std::vector<std::string>& product_names() {
  static const std::vector<std::string> all = {"gaussian", "gaussian_heads", "relative_keys"};
  return all;
}

/// Dropout, and the other normalisers that the fused kernel has.
inline const std::vector<std::string>& fused_only_names() {
  static const std::vector<std::string> all = {"dropout", "off_by_one",     "sink_causal", "sink_all",
                                               "sigmoid", "sigmoid_causal", "sigmoid_all"};
  return all;
}

inline std::vector<std::string> fused_names() {
  auto all = functor_names();
  all.insert(all.end(), fused_only_names().begin(), fused_only_names().end());
  return all;
}

/// FOVEA_TEST_SCALE=10 runs ten times as many random cases.
inline int64_t scaled(int64_t count) {
  const char* scale = std::getenv("FOVEA_TEST_SCALE");
  return scale ? count * std::max(1, std::atoi(scale)) : count;
}

/// Normal numbers with a row stride and a start that the layout says. "padded" stands in memory full of NaN,
/// so that a read outside the operand shows.
inline at::Tensor make_operand(at::IntArrayRef shape, at::ScalarType type, const std::string& layout) {
  const auto options = at::TensorOptions().dtype(type);
  if (layout == "BTHD")
    return at::randn({shape[0], shape[2], shape[1], shape[3]}).to(options).transpose(1, 2);
  if (layout == "broadcast") return at::randn({1, shape[1], shape[2], shape[3]}).to(options).expand(shape);
  const at::Tensor values = at::randn(shape).to(options);
  if (layout == "contiguous") return values;
  const at::Tensor room = at::full({shape[0], shape[1], shape[2] + 3, shape[3] + 5}, kNan, options);
  return room.slice(2, 2, 2 + shape[2]).slice(3, 3, 3 + shape[3]).copy_(values);
}

struct Operands {
  at::Tensor q, k, v;
};

inline Operands make_operands(const AttendCase& c) {
  return {make_operand({c.batch, c.heads, c.queries, c.dim}, c.type, c.layout),
          make_operand({c.batch, c.kv_heads, c.keys, c.dim}, c.type, c.layout),
          make_operand({c.batch, c.kv_heads, c.keys, c.value_dim}, c.type, c.layout)};
}

inline at::Tensor segment_ids(int64_t batch, int64_t length, int64_t parts) {
  const at::Tensor ids = at::arange(length) * parts / std::max<int64_t>(length, 1);
  return ids.floor_divide(1).to(at::kInt).expand({batch, length}).flatten().contiguous();
}

/// Dense numbers for each pair, as the name says.
inline void add_dense(const AttendCase& c, AttendOptions& options) {
  const auto seen = [](at::IntArrayRef shape) { return at::rand(shape) > 0.4; };
  const auto numbers = [&](at::IntArrayRef shape) { return at::randn(shape).to(c.type); };
  const int64_t b = c.batch, h = c.heads, n = c.queries, m = c.keys;
  if (c.functors == "mask") options.mask = seen({b, 1, n, m});
  if (c.functors == "mask_keys") options.mask = seen({b, 1, 1, m});
  if (c.functors == "mask_queries") options.mask = seen({h, n, 1});
  if (c.functors == "bias") options.bias = numbers({b, h, n, m});
  if (c.functors == "bias_expanded")
    options.bias = numbers({1, h, m, n}).transpose(2, 3).expand({b, h, n, m});
  if (c.functors == "bias_keys") options.bias = at::randn({b, 1, 1, m});
  if (c.functors == "bias_heads") options.bias = numbers({h, n, 1});
  if (c.functors == "blocks") {
    const int64_t size = 24;
    options.blocks = AttendBlocks{seen({b, 1, (n + size - 1) / size, (m + size - 1) / size}), size};
  }
}

inline void add_everything(const AttendCase& c, AttendOptions& options) {
  options.softcap = 5.0;
  options.functors = bind(Alibi{float_table(at::full({c.heads}, 0.01f))}, Causal() | Prefix(30));
  options.alibi_slopes = at::rand({c.heads}) * 0.1;
  options.relative_table = at::randn({1, 9});
  options.bias = at::randn({c.heads, c.queries, c.keys}).to(c.type);
  options.causal = CausalAlignment::bottom_right;
  options.window = AttendWindow{150, std::nullopt};
  options.key_lengths = at::full({c.batch}, c.keys - c.keys / 4, at::kLong);
  options.mask = at::rand({c.queries, c.keys}) > 0.1;
  options.dropout_p = 0.1;
  options.seed = 1;
}

inline void add_normaliser(const AttendCase& c, AttendOptions& options) {
  if (c.functors == "off_by_one") {
    options.normaliser = SoftmaxSink{};
    options.key_lengths = at::arange(c.batch) * 37 % (c.keys + 1);
  }
  if (c.functors == "sink_causal") options.normaliser = SoftmaxSink{at::randn({c.heads})};
  if (c.functors == "sink_all") options.normaliser = SoftmaxSink{at::randn({c.heads}).to(c.type)};
  if (c.functors == "sigmoid" || c.functors == "sigmoid_causal") options.normaliser = Sigmoid{};
  if (c.functors == "sigmoid_all") options.normaliser = Sigmoid{-4.0};
  if (c.functors == "sink_causal" || c.functors == "sigmoid_causal") {
    options.causal = CausalAlignment::top_left;
  }
}

// The widths keep scores as they are with a scale of 1 / sqrt(D).
inline void add_products(const AttendCase& c, AttendOptions& options) {
  const double width = std::sqrt(std::sqrt(static_cast<double>(c.dim)));
  if (c.functors == "gaussian") options.similarity = Gaussian{width};
  if (c.functors == "gaussian_heads") options.similarity = Gaussian{(at::rand({c.heads}) + 1.0) * width};
  if (c.functors == "relative_keys") options.relative_keys = at::randn({c.heads, 41, c.dim}).to(c.type);
}

inline AttendOptions make_options(const AttendCase& c) {
  AttendOptions options;
  const auto n = static_cast<int32_t>(c.queries), m = static_cast<int32_t>(c.keys);
  const at::Tensor slopes = at::pow(2.0, at::arange(1, c.heads + 1) * -0.5).to(at::kFloat);
  if (c.functors == "causal") options.causal = CausalAlignment::top_left;
  if (c.functors == "bottom_right") options.causal = CausalAlignment::bottom_right;
  if (c.functors == "window") options.functors = bind(Identity{}, Window(20, 5));
  if (c.functors == "window_option") options.window = AttendWindow{40, std::nullopt};
  if (c.functors == "dilated") options.functors = bind(Identity{}, Window(60, 60) & Dilated(4) & Causal());
  if (c.functors == "prefix") options.functors = bind(Identity{}, Causal() | Prefix(18));
  if (c.functors == "global") options.functors = bind(Identity{}, Window(9, 9) | Global(3));
  if (c.functors == "lengths") options.key_lengths = at::arange(c.batch) * 37 % (c.keys + 1);
  if (c.functors == "segments") {
    options.functors = bind(Identity{}, Causal() & Segments(int_table(segment_ids(c.batch, n, 4)),
                                                            int_table(segment_ids(c.batch, m, 4)), n, m));
  }
  if (c.functors == "documents") {
    options.segments = AttendSegments{segment_ids(c.batch, n, 3).view({c.batch, n}).to(at::kLong),
                                      segment_ids(c.batch, m, 3).view({c.batch, m})};
  }
  if (c.functors == "softcap") options.softcap = 3.0;
  if (c.functors == "alibi") {
    options.functors = bind(Chain(SoftCap{9.0f}, Alibi{float_table(slopes)}), Causal());
  }
  if (c.functors == "alibi_entry") options.alibi_slopes = (at::rand({c.batch, c.heads}) * 0.1).to(c.type);
  if (c.functors == "not_causal") options.functors = bind(Identity{}, !Causal());
  if (c.functors == "relative") options.relative_table = at::randn({c.heads, 65});
  if (c.functors == "dropout") {
    options.dropout_p = 0.3;
    options.seed = 12345678901234567u;
    options.causal = CausalAlignment::top_left;
  }
  if (c.functors == "everything" || c.functors.ends_with("_all")) add_everything(c, options);
  add_normaliser(c, options);
  add_products(c, options);
  add_dense(c, options);
  return options;
}

/// attend_decode() and additive attention leave dropout to others.
inline AttendOptions make_options_without_dropout(const AttendCase& c) {
  AttendOptions options = make_options(c);
  options.dropout_p = 0.0;
  return options;
}

/// `wide` with every functor and layout, and `narrow` with every functor.
inline std::vector<AttendCase> every_functor_with_every_layout(const std::vector<std::string>& functors,
                                                               AttendCase wide, AttendCase narrow) {
  std::vector<AttendCase> cases;
  for (const auto& name : functors) {
    wide.functors = narrow.functors = name;
    for (const auto& layout : layouts()) {
      wide.layout = layout;
      cases.push_back(wide);
    }
    cases.push_back(narrow);
  }
  return cases;
}

/// `count` cases, each axis drawn by itself; the same for the same seed.
inline std::vector<AttendCase> random_cases(int64_t count, uint64_t seed,
                                            const std::vector<std::string>& functors = functor_names()) {
  Random random(seed);
  const auto draw = [&random](const auto& values) { return values[random.below(std::size(values))]; };
  const std::vector<int64_t> lengths = {0, 1, 15, 16, 17, 63, 64, 100, 257, 1000};
  const std::vector<int64_t> dims = {1, 8, 24, 32, 64, 80, 96, 128, 256};
  const std::vector<at::ScalarType> types = {at::kFloat, at::kBFloat16, at::kHalf};
  std::vector<AttendCase> cases;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t kv_heads = draw(std::vector<int64_t>{1, 2}), group = draw(std::vector<int64_t>{1, 1, 2, 3});
    const int64_t dim = draw(dims);
    cases.push_back({.batch = draw(std::vector<int64_t>{1, 2}),
                     .heads = kv_heads * group,
                     .kv_heads = kv_heads,
                     .queries = draw(lengths),
                     .keys = draw(lengths),
                     .dim = dim,
                     .value_dim = random.below(3) == 0 ? draw(dims) : dim,
                     .type = draw(types),
                     .layout = draw(layouts()),
                     .functors = draw(functors)});
  }
  return cases;
}

/// The tensors of a call that can learn beside q, k and v; a bias that is the same for all keys cannot.
/// Widths of Gaussians, whose gradients sum squares that cancel, learn in tests of their own.
inline std::vector<at::Tensor*> learnable(AttendOptions& options) {
  std::vector<at::Tensor*> all;
  for (auto* t : {&options.bias, &options.alibi_slopes, &options.relative_table}) {
    if (t->has_value() && (*t)->size(-1) > 1) all.push_back(&**t);
  }
  auto& keys = options.relative_keys;
  if (keys && keys->scalar_type() != at::kBFloat16) all.push_back(&*keys);
  auto* sink = std::get_if<SoftmaxSink>(&options.normaliser);
  if (sink && sink->scores) all.push_back(&*sink->scores);
  return all;
}

inline AttendOptions in_double(AttendOptions options) {
  for (auto* t : learnable(options)) *t = t->to(at::kDouble);
  return options;
}

/// A score of size |s| errs by |s| 2^-23, and its weight by as much: ALiBi's grow with the distance.
inline double score_error(const AttendCase& c) {
  return c.functors == "alibi" ? 0.71 * static_cast<double>(std::max(c.queries, c.keys)) * 0x1p-23 : 0.0;
}

/// The definition in float64, from the same rounded operands.
inline at::Tensor exact_attend(const Operands& t, const AttendOptions& options) {
  return attend(t.q.to(at::kDouble), t.k.to(at::kDouble), t.v.to(at::kDouble), in_double(options)).out;
}

}  // namespace fovea::test
