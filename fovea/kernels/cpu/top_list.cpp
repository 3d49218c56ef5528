#include "fovea/kernels/cpu/top_list.h"

#include <utility>

namespace fovea::kernels {

void TopList::insert(float weight, int64_t key) const {
  int64_t at = is_heap() ? 0 : count - 1;
  if (!is_heap()) {
    for (; at > 0 && weights[at - 1] < weight; --at) {
      weights[at] = weights[at - 1];
      keys[at] = keys[at - 1];
    }
  }
  weights[at] = weight;
  keys[at] = key;
  if (is_heap()) sift_down(0, count);
}

void TopList::sort() const {
  if (!is_heap()) return;
  for (int64_t last = count - 1; last > 0; --last) {
    swap(0, last);
    sift_down(0, last);
  }
}

bool TopList::leaves_before(int64_t a, int64_t b) const {
  return weights[a] < weights[b] || (weights[a] == weights[b] && keys[a] > keys[b]);
}

void TopList::swap(int64_t a, int64_t b) const {
  std::swap(weights[a], weights[b]);
  std::swap(keys[a], keys[b]);
}

void TopList::sift_down(int64_t at, int64_t end) const {
  for (int64_t child = 2 * at + 1; child < end; child = 2 * at + 1) {
    if (child + 1 < end && leaves_before(child + 1, child)) ++child;
    if (!leaves_before(child, at)) return;
    swap(child, at);
    at = child;
  }
}

}  // namespace fovea::kernels
