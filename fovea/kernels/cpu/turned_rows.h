#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/one_pass.h"
#include "fovea/kernels/cpu/pack.h"

namespace fovea::kernels {

/// The rows of one head as columns of products, turned by panels of at most 64 of them, (dim, panel) each,
/// when they are first multiplied. One a thread.
class TurnedRows {
 public:
  /// Of at most `most` rows, of `dim` numbers.
  TurnedRows(int64_t most, int64_t dim)
      : panel_(std::clamp<int64_t>(round_up(most, 16), 16, 64)),
        turned_(ceil_div(most, panel_)),
        panels_(turned_.size() * panel_ * dim) {}

  /// Goes to other rows, as many at most.
  void load(const Rows<float>& rows) {
    rows_ = rows;
    std::fill(turned_.begin(), turned_.end(), false);
  }

  /// products = factor a rows[first, first + to.columns)^T, `a` rows `a_stride` apart; `first` and columns
  /// are multiples of 16. Columns past the last row are 0.
  void multiply(const float* a, int64_t a_stride, int64_t first, float factor, ProductTile to) {
    const int64_t end = first + to.columns;
    for (int64_t begin = first; begin < end;) {
      const int64_t panel = begin / panel_, next = std::min((panel + 1) * panel_, end);
      to.columns = static_cast<int32_t>(next - begin);
      kernels::multiply({a, turned(panel) + begin % panel_, rows_.dim, a_stride, panel_}, factor, to);
      to.products += to.columns;
      begin = next;
    }
  }

 private:
  const float* turned(int64_t panel) {
    float* to = panels_.get() + panel * panel_ * rows_.dim;
    if (!turned_[panel]) {
      const int64_t first = panel * panel_, count = std::min(panel_, rows_.count - first);
      pack_transposed<float, float>({rows_.data + first * rows_.stride, rows_.stride, count, rows_.dim},
                                    panel_, to);
      turned_[panel] = true;
    }
    return to;
  }

  int64_t panel_;
  Rows<float> rows_{};
  std::vector<char> turned_;
  Buffer<float> panels_;
};

}  // namespace fovea::kernels
