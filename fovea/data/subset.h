#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fovea/data/dataset.h"
#include "fovea/data/transform.h"

namespace fovea::data {

/// Some images of another set, by their indices there.
class Subset : public Dataset {
 public:
  /// Throws Error (usage) when an index is out of range.
  Subset(std::shared_ptr<const Dataset> whole, std::vector<int64_t> indices);

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  Sample get(int64_t index) const override { return whole_->get(at(index)); }
  int64_t label(int64_t index) const override { return whole_->label(at(index)); }
  const std::vector<std::string>& class_names() const override { return whole_->class_names(); }
  std::array<int64_t, 3> image_shape() const override { return whole_->image_shape(); }
  std::string describe(int64_t index) const override { return whole_->describe(at(index)); }
  const uint8_t* pixels(int64_t index) const override { return whole_->pixels(at(index)); }

  /// Indices in the whole set, ascending unless the caller chose otherwise.
  const std::vector<int64_t>& indices() const { return indices_; }

 private:
  int64_t at(int64_t index) const;

  std::shared_ptr<const Dataset> whole_;
  std::vector<int64_t> indices_;
};

/// Another set, each image through a transform that draws no random number (a resize, a change of colour).
class TransformedDataset : public Dataset {
 public:
  /// shape: what the transform makes, as image_shape() gives it.
  TransformedDataset(std::shared_ptr<const Dataset> whole, std::shared_ptr<const Transform> transform,
                     std::array<int64_t, 3> shape)
      : whole_(std::move(whole)), transform_(std::move(transform)), shape_(shape) {}

  int64_t size() const override { return whole_->size(); }
  Sample get(int64_t index) const override;
  int64_t label(int64_t index) const override { return whole_->label(index); }
  const std::vector<std::string>& class_names() const override { return whole_->class_names(); }
  std::array<int64_t, 3> image_shape() const override { return shape_; }
  std::string describe(int64_t index) const override { return whole_->describe(index); }

 private:
  std::shared_ptr<const Dataset> whole_;
  std::shared_ptr<const Transform> transform_;
  std::array<int64_t, 3> shape_;
};

/// Indices of a set in two parts, each ascending.
struct Division {
  std::vector<int64_t> chosen, rest;
};

/// Chooses n images by seed, each class with its share of the whole (stratified: rounded so that the counts
/// add up to n, the largest remainders first). Throws Error (usage) unless 0 <= n <= size. O(size).
Division choose_stratified(const Dataset& dataset, int64_t n, uint64_t seed);

}  // namespace fovea::data
