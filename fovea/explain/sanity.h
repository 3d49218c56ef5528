#pragma once
// Is an explanation worth anything? Tests that hold for every method.
#include "fovea/explain/explainer.h"

namespace fovea::explain {

/// Spearman's rank correlation of two maps of equal size, in [-1, 1]; ties share their mean rank. 0 when one
/// map is constant. Throws fovea::Error (usage) when the sizes differ or are below 2.   O(n log n).
double rank_correlation(const at::Tensor& a, const at::Tensor& b);

/// Every parameter drawn anew while it lives: normal with the mean and standard deviation of its values. The
/// old values come back afterwards, also when an exception passes.
class RandomisedScope {
 public:
  RandomisedScope(torch::nn::Module& network, uint64_t seed);
  ~RandomisedScope();
  RandomisedScope(const RandomisedScope&) = delete;
  RandomisedScope& operator=(const RandomisedScope&) = delete;

 private:
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
};

/// The randomisation test: a method that explains the network must give another map once the weights are
/// random. Returns the rank correlation of the two maps; near 1 means that the method does not look at the
/// network. Source: Adebayo et al. 2018, Sanity checks for saliency maps, section 4.
double randomisation_correlation(const Explainer& explainer, models::ImageNetwork& network,
                                 const at::Tensor& image, int64_t target, uint64_t seed = 0);

/// The share of a map's total that lies where `inside` is true.   map (H, W) >= 0, inside (H, W) bool -> [0,
/// 1]
double mass_inside(const at::Tensor& map, const at::Tensor& inside);

}  // namespace fovea::explain
