#include "fovea/ops/registered/attend_arguments.h"

#include <variant>

#include "fovea/core/error.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/describe.h"
#include "fovea/ops/registered/groups.h"
#include "fovea/ops/registered/observations.h"

namespace fovea::registered {
namespace {

// Where each argument stands in attend_arguments().
enum Place : size_t {
  kAlibiSlopes = kV + 1,
  kBias,
  kRelativeTable,
  kSinks,
  kCosine,
  kGaussian,
  kGridTable,
  kRelativeKeys,
  kMask,
  kKeyLengths,
  kQuerySegments,
  kKeySegments,
  kCuSeqlensQ,
  kCuSeqlensK,
  kBlockMask,
  kBlockSize,
  kScale,
  kGridHeight,
  kGridWidth,
  kCausal,
  kWindowLeft,
  kWindowRight,
  kSoftcap,
  kNormaliser,
  kSigmoidBias,
  kDropoutP,
  kSeed,
  kEnableGqa,
  kObserve,
  kTopK,
  kBlocks,
  kRows
};
static_assert(kMask == kAttendDifferentiable);

bool given(const Arguments& arguments, Place place) { return !arguments[place].isNone(); }

std::optional<at::Tensor> tensor(const Arguments& a, Place place) {
  return a[place].toOptional<at::Tensor>();
}

CausalAlignment alignment(const std::string& name) {
  if (name == "none") return CausalAlignment::none;
  if (name == "top_left") return CausalAlignment::top_left;
  if (name == "bottom_right") return CausalAlignment::bottom_right;
  throw usage_error("attend", "causal must be none, top_left or bottom_right", name,
                    "Leave it out for no order.");
}

AttendNormaliser normaliser(const Arguments& a) {
  const std::string& name = a[kNormaliser].toStringRef();
  AttendNormaliser found = find_normaliser(name);
  auto* sink = std::get_if<SoftmaxSink>(&found);
  auto* sigmoid = std::get_if<Sigmoid>(&found);
  if (sink) sink->scores = tensor(a, kSinks);
  if (sigmoid) sigmoid->bias = a[kSigmoidBias].toOptional<double>();
  if ((given(a, kSinks) && !sink) || (given(a, kSigmoidBias) && !sigmoid)) {
    throw usage_error("attend", "sinks belong to the normaliser softmax_sink, sigmoid_bias to sigmoid",
                      "the normaliser " + name, "Name the one that is meant.");
  }
  return found;
}

PerHead per_head(const at::Tensor& t, const Arguments& a) {
  if (t.dim() != 0) return t;
  if (t.requires_grad()) return t.expand({a[kQ].toTensor().size(1)});
  return t.item<double>();
}

AttendSimilarity similarity(const Arguments& a) {
  if (given(a, kCosine) && given(a, kGaussian)) {
    throw usage_error("attend", "a score is a cosine or Gaussian", "both", "Leave one of them out.");
  }
  if (given(a, kCosine)) return Cosine{per_head(a[kCosine].toTensor(), a)};
  if (given(a, kGaussian)) return Gaussian{per_head(a[kGaussian].toTensor(), a)};
  return ScaledDot{};
}

void read_scores(const Arguments& a, AttendOptions& options) {
  options.similarity = similarity(a);
  options.scale = a[kScale].toOptional<double>();
  options.softcap = a[kSoftcap].toOptional<double>();
  options.alibi_slopes = tensor(a, kAlibiSlopes);
  options.relative_table = tensor(a, kRelativeTable);
  if (given(a, kGridTable)) {
    options.relative_grid =
        AttendGrid{a[kGridTable].toTensor(), a[kGridHeight].toInt(), a[kGridWidth].toInt()};
  }
  options.relative_keys = tensor(a, kRelativeKeys);
  options.bias = tensor(a, kBias);
}

void read_masks(const Arguments& a, AttendOptions& options) {
  options.causal = alignment(a[kCausal].toStringRef());
  if (given(a, kWindowLeft) || given(a, kWindowRight)) {
    options.window =
        AttendWindow{a[kWindowLeft].toOptional<int64_t>(), a[kWindowRight].toOptional<int64_t>()};
  }
  options.key_lengths = tensor(a, kKeyLengths);
  if (given(a, kQuerySegments) != given(a, kKeySegments)) {
    throw usage_error("attend", "segments are of queries and of keys",
                      given(a, kQuerySegments) ? "those of queries" : "those of keys", "Give both.");
  }
  if (given(a, kQuerySegments)) {
    options.segments = AttendSegments{a[kQuerySegments].toTensor(), a[kKeySegments].toTensor()};
  }
  if (given(a, kBlockMask)) options.blocks = AttendBlocks{a[kBlockMask].toTensor(), a[kBlockSize].toInt()};
  options.mask = tensor(a, kMask);
}

}  // namespace

const char* const kAttendOptions =
    "Tensor? alibi_slopes=None, Tensor? bias=None, Tensor? relative_table=None, Tensor? sinks=None, "
    "Tensor? cosine=None, Tensor? gaussian=None, Tensor? grid_table=None, Tensor? relative_keys=None, *, "
    "Tensor? mask=None, Tensor? key_lengths=None, Tensor? query_segments=None, Tensor? key_segments=None, "
    "Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None, Tensor? block_mask=None, int? block_size=None, "
    "float? scale=None, int? grid_height=None, int? grid_width=None, str causal='none', int? "
    "window_left=None, int? window_right=None, "
    "float? softcap=None, str normaliser='softmax', float? sigmoid_bias=None, float dropout_p=0.0, "
    "int? seed=None, bool enable_gqa=False, str[]? observe=None, int? top_k=None, int[]? blocks=None, "
    "int[]? rows=None";

AttendOptions options_of(const Arguments& a) {
  AttendOptions options;
  read_scores(a, options);
  read_masks(a, options);
  options.normaliser = normaliser(a);
  options.dropout_p = a[kDropoutP].toDouble();
  if (given(a, kSeed)) options.seed = static_cast<uint64_t>(a[kSeed].toInt());
  if (options.dropout_p > 0.0 && !options.seed) {
    throw usage_error("attend",
                      "the operator's dropout needs a seed, as its backward may run the forward again",
                      "none", "Draw one, as fovea.attend() does.");
  }
  for (const std::string& name : observed_names(a)) {
    const Observation* known = known_observation(name);
    if (known && known->option) options.*known->option = true;
  }
  return options;
}

void check_groups(const Arguments& a) {
  const int64_t dims = offsets_of(a) ? 3 : 4;
  if (a[kEnableGqa].toBool()) return;
  require_own_heads("attend", a[kQ].toTensor(), a[kK].toTensor(), "k", dims);
}

std::optional<std::pair<at::Tensor, at::Tensor>> offsets_of(const Arguments& a) {
  if (given(a, kCuSeqlensQ) != given(a, kCuSeqlensK)) {
    throw usage_error("attend", "cu_seqlens_q and cu_seqlens_k go together", "one of them", "Pass both.");
  }
  if (!given(a, kCuSeqlensQ)) return std::nullopt;
  return std::pair(a[kCuSeqlensQ].toTensor(), a[kCuSeqlensK].toTensor());
}

std::vector<std::string> observed_names(const Arguments& a) {
  std::vector<std::string> names;
  if (!given(a, kObserve)) return names;
  for (const c10::IValue& name : a[kObserve].toListRef()) names.push_back(name.toStringRef());
  return names;
}

AttendObservation observation_of(const Arguments& a) {
  AttendObservation wanted;
  for (const std::string& name : observed_names(a)) {
    const Observation* known = known_observation(name);
    if (known && known->flag) wanted.*known->flag = true;
  }
  wanted.top_k = a[kTopK].toOptional<int64_t>();
  if (given(a, kBlocks)) {
    const std::vector<int64_t> sizes = a[kBlocks].toIntVector();
    if (sizes.size() != 2) {
      throw usage_error("attend", "blocks to observe have two sizes, of queries and keys",
                        describe_shape(sizes), "Give both.");
    }
    wanted.blocks = ObservedBlocks{sizes[0], sizes[1]};
  }
  if (given(a, kRows)) wanted.rows = a[kRows].toIntVector();
  return wanted;
}

}  // namespace fovea::registered
