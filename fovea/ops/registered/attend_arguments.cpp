#include "fovea/ops/registered/attend_arguments.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/describe.h"

namespace fovea::registered {
namespace {

// Where each argument stands in kArgumentList.
enum Place : size_t {
  kQ,
  kK,
  kV,
  kAlibiSlopes,
  kBias,
  kRelativeTable,
  kMask,
  kKeyLengths,
  kQuerySegments,
  kKeySegments,
  kCuSeqlensQ,
  kCuSeqlensK,
  kBlockMask,
  kBlockSize,
  kScale,
  kCausal,
  kWindowLeft,
  kWindowRight,
  kPrefix,
  kSoftcap,
  kNormaliser,
  kDropoutP,
  kSeed,
  kEnableGqa,
  kObserve,
  kCount
};

bool given(const Arguments& arguments, Place place) { return !arguments[place].isNone(); }

void refuse_missing(const char* name, bool asked) {
  if (!asked) return;
  C10_THROW_ERROR(NotImplementedError, std::string("[attend] ") + name + " is not available yet");
}

// Shrinks as fovea::attend grows.
void refuse_what_is_missing(const Arguments& a) {
  refuse_missing("relative_table", given(a, kRelativeTable));
  refuse_missing("cu_seqlens", has_offsets(a));
  refuse_missing("block_mask", given(a, kBlockMask));
  refuse_missing("prefix", given(a, kPrefix));
  refuse_missing("another normaliser than softmax", a[kNormaliser].toStringRef() != "softmax");
  for (const std::string& name : observed_names(a)) {
    refuse_missing(("observing " + name).c_str(), name != "weights");
  }
  const bool slopes_want_gradient = given(a, kAlibiSlopes) && a[kAlibiSlopes].toTensor().requires_grad();
  refuse_missing("a gradient of alibi_slopes", slopes_want_gradient);
}

int32_t whole(const c10::IValue& value) {
  constexpr int64_t kMost = Window::kOpen;
  return static_cast<int32_t>(std::clamp(value.toInt(), -kMost, kMost));
}

// Causal order, left and right bounds are one band of keys around each query.
Window band(const Arguments& a) {
  Window window(Window::kOpen, Window::kOpen);
  if (given(a, kWindowLeft)) window.left = whole(a[kWindowLeft]);
  if (given(a, kWindowRight)) window.right = whole(a[kWindowRight]);
  const std::string& causal = a[kCausal].toStringRef();
  if (causal == "top_left") window.right = std::min(window.right, 0);
  if (causal == "bottom_right") {
    const int64_t shift = a[kK].toTensor().size(2) - a[kQ].toTensor().size(2);
    window.right = static_cast<int32_t>(std::min<int64_t>(window.right, shift));
  }
  return window;
}

using Bound = std::shared_ptr<const AttendFunctors>;

template <class Score>
Bound bind_masks(const Arguments& a, Score score) {
  const Window window = band(a);
  if (given(a, kQuerySegments)) {
    const at::Tensor queries = a[kQuerySegments].toTensor(), keys = a[kKeySegments].toTensor();
    const Segments segments(int_table(queries.flatten()), int_table(keys.flatten()),
                            static_cast<int32_t>(queries.size(-1)), static_cast<int32_t>(keys.size(-1)));
    return bind(std::move(score), window & segments);
  }
  if (given(a, kKeyLengths)) {
    return bind(std::move(score), window & KeyLengths(int_table(a[kKeyLengths].toTensor())));
  }
  return bind(std::move(score), window);
}

Bound bind_functors(const Arguments& a) {
  if (given(a, kAlibiSlopes)) {
    const Alibi alibi{float_table(a[kAlibiSlopes].toTensor())};
    if (!given(a, kSoftcap)) return bind_masks(a, alibi);
    return bind_masks(a, Chain(SoftCap{static_cast<float>(a[kSoftcap].toDouble())}, alibi));
  }
  if (given(a, kSoftcap)) return bind_masks(a, SoftCap{static_cast<float>(a[kSoftcap].toDouble())});
  return bind_masks(a, Identity{});
}

bool needs_functors(const Arguments& a) {
  const auto asked = [&](Place place) { return given(a, place); };
  return asked(kAlibiSlopes) || asked(kSoftcap) || asked(kWindowLeft) || asked(kWindowRight) ||
         asked(kKeyLengths) || asked(kQuerySegments) || a[kCausal].toStringRef() == "bottom_right";
}

AttendOptions options_of(const Arguments& a) {
  refuse_what_is_missing(a);
  AttendOptions options;
  options.scale = a[kScale].toOptional<double>();
  options.mask = a[kMask].toOptional<at::Tensor>();
  options.bias = a[kBias].toOptional<at::Tensor>();
  options.dropout_p = a[kDropoutP].toDouble();
  options.weights = !observed_names(a).empty();
  if (needs_functors(a)) {
    options.functors = bind_functors(a);
  } else {
    options.causal = a[kCausal].toStringRef() == "top_left";
  }
  return options;
}

// The C++ operator groups heads whenever they divide; in Python, as in PyTorch, one asks for it.
void check_groups(const at::Tensor& q, const at::Tensor& k, const Arguments& a) {
  if (a[kEnableGqa].toBool() || q.dim() != 4 || k.dim() != 4 || q.size(1) == k.size(1)) return;
  throw usage_error("attend", "q and k must share the number of heads; found q " + describe(q) + ", k " +
                                  describe(k) + ". Pass enable_gqa=True to let heads share keys.");
}

}  // namespace

size_t argument_count() { return kCount; }

std::vector<std::string> observed_names(const Arguments& arguments) {
  std::vector<std::string> names;
  if (!given(arguments, kObserve)) return names;
  for (const c10::IValue& name : arguments[kObserve].toListRef()) names.push_back(name.toStringRef());
  return names;
}

bool has_offsets(const Arguments& arguments) {
  return given(arguments, kCuSeqlensQ) || given(arguments, kCuSeqlensK);
}

std::vector<at::Tensor> run_attend(const Arguments& arguments) {
  const at::Tensor q = arguments[kQ].toTensor(), k = arguments[kK].toTensor(), v = arguments[kV].toTensor();
  try {
    check_groups(q, k, arguments);
    const AttendResult result = attend(q, k, v, options_of(arguments));
    std::vector<at::Tensor> results = {result.out};
    if (result.weights.defined()) results.push_back(result.weights);
    return results;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    C10_THROW_ERROR(ValueError, error.what());
  }
}

}  // namespace fovea::registered
