#include "fovea/nn/position/alibi.h"

#include <utility>

#include "fovea/nn/attention/alibi.h"

namespace fovea::nn {
namespace {

struct AlibiOptions {
  template <class Visitor>
  static void fields(AlibiOptions&, Visitor&&) {}
};

class AlibiPosition : public Position {
 public:
  AlibiPosition(PositionKind kind, const PositionShape& shape, const AlibiOptions&)
      : Position(std::move(kind), shape) {}

 protected:
  void place(AttentionInput& input) const override {
    if (input.call.alibi_slopes)
      refuse("slopes are given once", "alibi_slopes of the call", "Leave them out.");
    input.call.alibi_slopes = alibi_slopes(shape().heads).to(input.q.device());
  }
};

}  // namespace

PositionEntry alibi_position() {
  return position_entry<AlibiPosition>(
      {"alibi", "s_ij - 2^(-8 (h + 1) / H) |i - j|", "Press et al. 2022, section 3",
       "yes: made for it; the penalty goes on"},
      {.place = PositionPlace::scores}, AlibiOptions{});
}

}  // namespace fovea::nn
