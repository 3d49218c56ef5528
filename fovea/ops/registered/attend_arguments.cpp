#include "fovea/ops/registered/attend_arguments.h"

#include <c10/util/Exception.h>

#include <optional>

#include "fovea/core/error.h"
#include "fovea/ops/attend.h"
#include "fovea/ops/attend_packed.h"
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
  refuse_missing("another normaliser than softmax", a[kNormaliser].toStringRef() != "softmax");
  for (const std::string& name : observed_names(a)) {
    refuse_missing(("observing " + name).c_str(), name != "weights" && name != "lse");
  }
}

std::optional<at::Tensor> tensor(const Arguments& a, Place place) {
  return a[place].toOptional<at::Tensor>();
}

CausalAlignment alignment(const std::string& name) {
  if (name == "none") return CausalAlignment::none;
  if (name == "top_left") return CausalAlignment::top_left;
  if (name == "bottom_right") return CausalAlignment::bottom_right;
  throw usage_error("attend", "causal must be none, top_left or bottom_right; found " + name +
                                  ". Leave it out for no order.");
}

void read_scores(const Arguments& a, AttendOptions& options) {
  options.scale = a[kScale].toOptional<double>();
  options.softcap = a[kSoftcap].toOptional<double>();
  options.alibi_slopes = tensor(a, kAlibiSlopes);
  options.relative_table = tensor(a, kRelativeTable);
  options.bias = tensor(a, kBias);
}

void read_masks(const Arguments& a, AttendOptions& options) {
  options.causal = alignment(a[kCausal].toStringRef());
  if (given(a, kWindowLeft) || given(a, kWindowRight)) {
    options.window =
        AttendWindow{a[kWindowLeft].toOptional<int64_t>(), a[kWindowRight].toOptional<int64_t>()};
  }
  options.key_lengths = tensor(a, kKeyLengths);
  if (given(a, kQuerySegments)) {
    options.segments = AttendSegments{a[kQuerySegments].toTensor(), a[kKeySegments].toTensor()};
  }
  if (given(a, kBlockMask)) options.blocks = AttendBlocks{a[kBlockMask].toTensor(), a[kBlockSize].toInt()};
  options.mask = tensor(a, kMask);
}

AttendOptions options_of(const Arguments& a) {
  refuse_what_is_missing(a);
  AttendOptions options;
  read_scores(a, options);
  read_masks(a, options);
  options.dropout_p = a[kDropoutP].toDouble();
  if (given(a, kSeed)) options.seed = static_cast<uint64_t>(a[kSeed].toInt());
  for (const std::string& name : observed_names(a)) {
    options.weights |= name == "weights";
    options.lse |= name == "lse";
  }
  return options;
}

bool has_offsets(const Arguments& a) { return given(a, kCuSeqlensQ) || given(a, kCuSeqlensK); }

// The C++ operator groups heads whenever they divide; in Python, as in PyTorch, one asks for it.
void check_groups(const at::Tensor& q, const at::Tensor& k, const Arguments& a) {
  const int64_t dims = has_offsets(a) ? 3 : 4;
  if (a[kEnableGqa].toBool() || q.dim() != dims || k.dim() != dims || q.size(1) == k.size(1)) return;
  throw usage_error("attend", "q and k must share the number of heads; found q " + describe(q) + ", k " +
                                  describe(k) + ". Pass enable_gqa=True to let heads share keys.");
}

AttendResult run(const Arguments& a) {
  const at::Tensor q = a[kQ].toTensor(), k = a[kK].toTensor(), v = a[kV].toTensor();
  check_groups(q, k, a);
  const AttendOptions options = options_of(a);
  if (!has_offsets(a)) return attend(q, k, v, options);
  if (!given(a, kCuSeqlensQ) || !given(a, kCuSeqlensK)) {
    throw usage_error("attend", "cu_seqlens_q and cu_seqlens_k go together; found one of them. Pass both.");
  }
  return {attend_packed(q, k, v, a[kCuSeqlensQ].toTensor(), a[kCuSeqlensK].toTensor(), options), {}, {}};
}

}  // namespace

size_t argument_count() { return kCount; }

std::vector<std::string> observed_names(const Arguments& arguments) {
  std::vector<std::string> names;
  if (!given(arguments, kObserve)) return names;
  for (const c10::IValue& name : arguments[kObserve].toListRef()) names.push_back(name.toStringRef());
  return names;
}

std::vector<at::Tensor> run_attend(const Arguments& arguments) {
  try {
    const AttendResult result = run(arguments);
    std::vector<at::Tensor> results = {result.out};
    for (const std::string& name : observed_names(arguments)) {
      results.push_back(name == "lse" ? result.lse : result.weights);
    }
    return results;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    C10_THROW_ERROR(ValueError, error.what());
  }
}

}  // namespace fovea::registered
