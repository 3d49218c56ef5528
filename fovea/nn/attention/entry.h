#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/options.h"

namespace fovea::nn {

/// Makes a mechanism whose options are read already.
using AttentionBuilder = std::function<std::shared_ptr<Attention>(const AttentionShape& shape)>;

/// What a row tells of its mechanism in words.
struct AttentionText {
  std::string name;
  std::string formula;
  /// Authors, year, section.
  std::string paper;
  /// Time and extra memory over N queries, M keys, head size D.
  std::string cost;
  /// Implementations that run it on the CPU in float32, best first, as attend_choice() and linear_attend()
  /// name them, or `composed` of operations on tensors.
  std::string path;
};

/// One row of the registry.
struct AttentionEntry : AttentionText {
  AttentionTraits traits;
  std::vector<OptionDoc> options;
  /// Reads options; throws fovea::Error (usage) on what does not fit.
  std::function<AttentionBuilder(const Settings&)> read;
};

/// Throws fovea::Error (usage) where `settings` say something of causal order, and the mechanism has no
/// choice of it.
void check_causal_setting(const AttentionKind& kind, const Settings& settings,
                          const std::vector<OptionDoc>& options);

/// The row of a mechanism that is built as Module(AttentionKind, AttentionShape, Options).
template <class Module, class Options>
AttentionEntry attention_entry(AttentionText text, const AttentionTraits& traits, Options standard) {
  const AttentionKind kind{text.name, traits};
  const auto read = [kind, standard](const Settings& settings) -> AttentionBuilder {
    check_causal_setting(kind, settings, describe_options(standard));
    return [kind, options = read_options(kind.name, settings, standard)](const AttentionShape& shape) {
      return std::make_shared<Module>(kind, shape, options);
    };
  };
  return {std::move(text), traits, describe_options(standard), read};
}

}  // namespace fovea::nn
