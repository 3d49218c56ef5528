#include "fovea/nn/position/registry.h"

#include "fovea/core/nearest.h"
#include "fovea/nn/position/alibi.h"
#include "fovea/nn/position/conditional.h"
#include "fovea/nn/position/learned.h"
#include "fovea/nn/position/music.h"
#include "fovea/nn/position/none.h"
#include "fovea/nn/position/rotary.h"
#include "fovea/nn/position/shaw.h"
#include "fovea/nn/position/sine2d.h"
#include "fovea/nn/position/sinusoidal.h"
#include "fovea/nn/position/swin.h"
#include "fovea/nn/position/t5.h"

namespace fovea::nn {

const std::vector<PositionEntry>& position_entries() {
  static const std::vector<PositionEntry> entries = {
      no_position(),    sinusoidal_position(), learned_position(),    t5_position(),
      shaw_position(),  music_position(),      swin_position(),       rotary_position(),
      alibi_position(), sine2d_position(),     conditional_position()};
  return entries;
}

const PositionEntry& find_position(const std::string& name) {
  return find_named(position_entries(), name,
                    {"position", "the scheme must be a known one", "`fovea list positions` shows all."});
}

PositionPlan parse_position(const std::string& text) {
  const auto [name, settings] = split_name(text);
  const PositionEntry& entry = find_position(name);
  return {&entry, entry.read(split_settings(entry.name, settings))};
}

}  // namespace fovea::nn
