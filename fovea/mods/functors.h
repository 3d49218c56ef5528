#pragma once
#include "fovea/mods/at.h"

namespace fovea {

/// The score of every pair as it is.
struct Identity {
  template <class V, class Q, class K>
  V operator()(V s, const At<Q, K>&) const {
    return s;
  }
};

/// A score and a mask: together what attention does between q.k and the softmax.
template <class Score, class M>
struct Functors {
  Score score;
  M mask;
};

}  // namespace fovea
