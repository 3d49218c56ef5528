#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fovea/core/random.h"

namespace fovea::test {

/// A value for each axis.
using Row = std::vector<size_t>;

/// A value of one axis beside a value of another.
struct Pair {
  size_t axis, value, other_axis, other_value;
};

/// Few rows in which each pair of values of two axes stands that may. Axis a has the values 0 ... sizes[a] -
/// 1; may(pair) must leave each row a value for its next axis. Greedy: a row begins with a pair that is
/// missing, and each further axis takes the value that brings most others.   Source: the AETG system (Cohen
/// et al. 1997).
template <class May>
class CoveringArray {
 public:
  CoveringArray(std::vector<size_t> sizes, const May& may, uint64_t seed)
      : sizes_(std::move(sizes)), may_(may), random_(seed) {
    for (const size_t size : sizes_) {
      first_.push_back(values_);
      values_ += size;
    }
    missing_.assign(values_ * values_, false);
    each_pair([this](const Pair& p) {
      if (allowed(p)) missing_[place(p)] = true;
    });
    each_pair([this](const Pair& p) {
      if (missing_[place(p)]) rows_.push_back(row_with(p));
    });
  }

  const std::vector<Row>& rows() const { return rows_; }

 private:
  static constexpr size_t kUnset = static_cast<size_t>(-1);

  template <class Visit>
  void each_pair(const Visit& visit) const {
    for (size_t a = 0; a < sizes_.size(); ++a) {
      for (size_t b = a + 1; b < sizes_.size(); ++b) {
        for (size_t i = 0; i < sizes_[a]; ++i) {
          for (size_t j = 0; j < sizes_[b]; ++j) visit(Pair{a, i, b, j});
        }
      }
    }
  }

  static Pair ordered(const Pair& p) {
    return p.axis < p.other_axis ? p : Pair{p.other_axis, p.other_value, p.axis, p.value};
  }
  bool allowed(const Pair& p) const { return may_(ordered(p)); }
  size_t place(const Pair& p) const {
    const Pair o = ordered(p);
    return (first_[o.axis] + o.value) * values_ + first_[o.other_axis] + o.other_value;
  }

  // How many missing pairs a value brings to the row; -1 where it may not stand there.
  int64_t gain(const Row& row, size_t axis, size_t value) const {
    int64_t count = 0;
    for (size_t other = 0; other < row.size(); ++other) {
      if (row[other] == kUnset) continue;
      const Pair p{axis, value, other, row[other]};
      if (!allowed(p)) return -1;
      count += missing_[place(p)];
    }
    return count;
  }

  // The best value, the first after a random one of those that are as good.
  size_t best_value(const Row& row, size_t axis) {
    const size_t begin = random_.below(sizes_[axis]);
    size_t best = begin;
    int64_t most = -1;
    for (size_t i = 0; i < sizes_[axis]; ++i) {
      const size_t value = (begin + i) % sizes_[axis];
      const int64_t now = gain(row, axis, value);
      if (now > most) {
        most = now;
        best = value;
      }
    }
    return best;
  }

  Row row_with(const Pair& p) {
    Row row(sizes_.size(), kUnset);
    row[p.axis] = p.value;
    row[p.other_axis] = p.other_value;
    for (size_t axis = 0; axis < row.size(); ++axis) {
      if (row[axis] == kUnset) row[axis] = best_value(row, axis);
    }
    for (size_t a = 0; a < row.size(); ++a) {
      for (size_t b = a + 1; b < row.size(); ++b) missing_[place({a, row[a], b, row[b]})] = false;
    }
    return row;
  }

  std::vector<size_t> sizes_, first_;
  size_t values_ = 0;
  May may_;
  Random random_;
  std::vector<bool> missing_;
  std::vector<Row> rows_;
};

}  // namespace fovea::test
