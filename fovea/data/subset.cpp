#include "fovea/data/subset.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "fovea/core/error.h"
#include "fovea/core/random.h"
#include "fovea/data/tensor_dataset.h"

namespace fovea::data {
namespace {

// How many of the n fall to each class: the whole part of its share, then one more for the largest
// remainders.
std::vector<int64_t> class_quotas(const std::vector<std::vector<int64_t>>& members, int64_t n,
                                  int64_t total) {
  std::vector<int64_t> quotas(members.size()), order(members.size());
  std::vector<double> remainders(members.size());
  int64_t given = 0;
  for (size_t c = 0; c < members.size(); ++c) {
    const double share =
        static_cast<double>(n) * static_cast<double>(members[c].size()) / static_cast<double>(total);
    quotas[c] = static_cast<int64_t>(share);
    remainders[c] = share - static_cast<double>(quotas[c]);
    given += quotas[c];
  }
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return remainders[a] > remainders[b]; });
  for (size_t i = 0; given < n; i = (i + 1) % order.size()) {
    const int64_t c = order[i];
    if (quotas[c] == static_cast<int64_t>(members[c].size())) continue;
    ++quotas[c];
    ++given;
  }
  return quotas;
}

}  // namespace

Subset::Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices)
    : whole_(std::move(whole)), indices_(std::move(indices)) {
  for (const int64_t index : indices_) check_index(index, whole_->size());
}

int64_t Subset::at(int64_t index) const {
  check_index(index, size());
  return indices_[index];
}

Sample TransformedDataset::get(int64_t index) const {
  Sample sample = whole_->get(index);
  Random none(0);
  sample.image = transform_->apply(sample.image, none);
  return sample;
}

Division choose_stratified(const Dataset& dataset, int64_t n, uint64_t seed) {
  const int64_t total = dataset.size();
  if (n < 0 || n > total) {
    throw usage_error("data",
                      fmt::format("the number of images to choose must be in [0, {}]; found {}.", total, n));
  }
  Division division;
  if (total == 0) return division;
  std::vector<std::vector<int64_t>> members(dataset.class_names().size());
  for (int64_t i = 0; i < total; ++i) members[dataset.label(i)].push_back(i);
  const auto quotas = class_quotas(members, n, total);
  for (size_t c = 0; c < members.size(); ++c) {
    const auto order = permutation(static_cast<int64_t>(members[c].size()), Random(seed, 0, c));
    for (size_t i = 0; i < order.size(); ++i) {
      auto& part = static_cast<int64_t>(i) < quotas[c] ? division.chosen : division.rest;
      part.push_back(members[c][order[i]]);
    }
  }
  std::sort(division.chosen.begin(), division.chosen.end());
  std::sort(division.rest.begin(), division.rest.end());
  return division;
}

}  // namespace fovea::data
