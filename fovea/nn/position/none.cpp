#include "fovea/nn/position/none.h"

#include <utility>

namespace fovea::nn {
namespace {

struct NoPositionOptions {
  template <class Visitor>
  static void fields(NoPositionOptions&, Visitor&&) {}
};

class NoPosition : public Position {
 public:
  NoPosition(PositionKind kind, const PositionShape& shape, const NoPositionOptions&)
      : Position(std::move(kind), shape) {}
};

}  // namespace

PositionEntry no_position() {
  return position_entry<NoPosition>({"none", "rows as they are: a set", "Vaswani et al. 2017, 3.5",
                                     "yes: there is nothing that a longer input could leave"},
                                    {}, NoPositionOptions{});
}

}  // namespace fovea::nn
