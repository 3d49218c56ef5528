#include "fovea/train/roc_auc.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace fovea::train {

double roc_auc(std::span<const double> scores, const std::vector<bool>& positive) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  // Twice U, in integers: half counts of ties stay exact.
  uint64_t twice_wins = 0, negatives = 0, positives = 0;
  for (size_t begin = 0; begin < order.size();) {
    uint64_t group_positives = 0, group_negatives = 0;
    size_t end = begin;
    for (; end < order.size() && scores[order[end]] == scores[order[begin]]; ++end) {
      ++(positive[order[end]] ? group_positives : group_negatives);
    }
    twice_wins += group_positives * (2 * negatives + group_negatives);
    positives += group_positives;
    negatives += group_negatives;
    begin = end;
  }
  if (positives == 0 || negatives == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(twice_wins) / 2.0 /
         (static_cast<double>(positives) * static_cast<double>(negatives));
}

}  // namespace fovea::train
