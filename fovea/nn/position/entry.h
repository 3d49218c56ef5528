#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fovea/nn/attention/options.h"
#include "fovea/nn/position/position.h"

namespace fovea::nn {

/// Makes a scheme whose options are read already.
using PositionBuilder = std::function<std::shared_ptr<Position>(const PositionShape& shape)>;

/// What a row tells of its scheme in words.
struct PositionText {
  std::string name;
  std::string formula;
  /// Authors, year, section.
  std::string paper;
  /// What it is worth beyond the lengths that were trained.
  std::string extrapolates;
};

/// One row of the registry.
struct PositionEntry : PositionText {
  PositionTraits traits;
  std::vector<OptionDoc> options;
  /// Reads options; throws fovea::Error (usage) on what does not fit.
  std::function<PositionBuilder(const Settings&)> read;
};

/// The row of a scheme that is built as Module(PositionKind, PositionShape, Options).
template <class Module, class Options>
PositionEntry position_entry(PositionText text, const PositionTraits& traits, Options standard) {
  const PositionKind kind{text.name, traits};
  const auto read = [kind, standard](const Settings& settings) -> PositionBuilder {
    return [kind, options = read_options(kind.name, settings, standard, "positions")](
               const PositionShape& shape) { return std::make_shared<Module>(kind, shape, options); };
  };
  return {std::move(text), traits, describe_options(standard), read};
}

}  // namespace fovea::nn
