#include "fovea/nn/attention/entry.h"

#include <algorithm>

#include "fovea/core/error.h"

namespace fovea::nn {

void check_causal_setting(const AttentionKind& kind, const Settings& settings,
                          const std::vector<OptionDoc>& options) {
  constexpr const char* kCausal = "causal";
  const bool has =
      std::any_of(options.begin(), options.end(), [](const OptionDoc& o) { return o.name == kCausal; });
  const auto asked = settings.find(kCausal);
  if (has || asked == settings.end()) return;
  throw usage_error(
      kind.name, kind.traits.causal_ok ? "it has no choice of causal order" : "it cannot run in causal order",
      "causal=" + asked->second,
      kind.traits.causal_ok ? "Leave causal out; `fovea list mechanisms` shows what it is."
                            : "Choose another mechanism, or leave causal out.");
}

}  // namespace fovea::nn
