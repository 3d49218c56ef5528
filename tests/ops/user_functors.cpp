// Compiled several times; COMPILED says how.
#include "tests/ops/user_functors.h"

#include "fovea/ops/attend_functors.h"

namespace fovea::test {
namespace {

// Nearer keys count more, and the score is bounded from above.
struct Nearness {
  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>& at) const {
    using std::abs, std::exp;
    return s + exp(to_float(abs(at.q - at.k)) * -0.1f) * 3.0f;
  }
};

// A comb: every third key, and the query's neighbours.
struct Comb : Mask {
  template <class Q, class K>
  auto operator()(const At<Q, K>& at) const {
    return (at.k % 3 == 0) | (abs(at.q - at.k) <= 1);
  }
  Cover cover(const TileRange&) const { return Cover::partial; }
};

std::shared_ptr<const AttendFunctors> make() { return bind(Nearness{}, Comb{} & Window(40, 40)); }

[[maybe_unused]] const bool entered = (user_functors().push_back({COMPILED, make}), true);

}  // namespace
}  // namespace fovea::test
