#include "fovea/core/nearest.h"

#include <algorithm>

namespace fovea {
namespace {

// Optimal string alignment: Levenshtein's distance plus the swap of two neighbours.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

// One that goes on where the name ends, or ends where it goes on.
std::string longer_or_shorter(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr size_t kLeast = 3;
  for (const auto& candidate : candidates) {
    const size_t common = std::min(name.size(), candidate.size());
    if (common >= kLeast && name.substr(0, common) == candidate.substr(0, common)) return candidate;
  }
  return {};
}

}  // namespace

std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates) {
  // A long stranger is no misspelling, and comparing it would cost its square. Of a short one most letters
  // must stay.
  if (name.empty() || name.size() > 200) return {};
  std::string best;
  const size_t most = name.size() <= 4 ? 1 : std::max<size_t>(2, name.size() / 3);
  size_t best_distance = std::min(most + 1, name.size());
  for (const auto& candidate : candidates) {
    const size_t distance = edit_distance(name, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best.empty() ? longer_or_shorter(name, candidates) : best;
}

std::string suggest_name(std::string_view name, const std::vector<std::string>& candidates,
                         std::string_view otherwise) {
  const std::string best = nearest_name(name, candidates);
  return best.empty() ? std::string(otherwise) : "Did you mean '" + best + "'?";
}

}  // namespace fovea
