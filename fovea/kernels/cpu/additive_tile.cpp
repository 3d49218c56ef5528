#include "fovea/kernels/cpu/additive_tile.h"

#include <algorithm>

namespace fovea::kernels {
namespace {

// A block of the table, of 64 lanes, then takes 24 KB: it stays in the first-level cache while all rows pass.
constexpr int32_t kTableSlots = 96;
constexpr int64_t kPadding = 16;

// Two dims may need a centre for each row.
int64_t table_slots(int64_t most_rows) { return std::max<int64_t>(kTableSlots, 2 * most_rows); }

}  // namespace

void mark_nan_columns(const float* numbers, int64_t dim, int64_t stride, int64_t count, float* base) {
  std::fill(base, base + count, 0.0f);
  for (int64_t d = 0; d < dim; ++d) {
    const float* row = numbers + d * stride;
    for (int64_t j = 0; j < count; ++j) base[j] = row[j] != row[j] ? row[j] : base[j];
  }
}

AdditiveTile::AdditiveTile(int64_t most_rows, int64_t most_columns, int64_t dim)
    : kernels_(additive_kernels()),
      most_rows_(most_rows),
      dim_(dim),
      width_(round_up(dim, kPadding)),
      weights_(width_),
      powers_(most_rows * width_),
      centres_(most_rows * width_),
      found_(most_rows * width_),
      base_(most_rows),
      table_(table_slots(most_rows) * round_up(most_columns, additive::kBlock)),
      row_sums_(most_rows * width_),
      scratch_((most_rows + 2) * 2 * kPadding),
      slots_(most_rows * width_),
      counts_(width_),
      offsets_(width_),
      dim_sums_(width_) {
  clear_dim_sums();
}

void AdditiveTile::set_weights(const float* w) {
  double total = 0.0;
  for (int64_t d = 0; d < dim_; ++d) total += w[d];
  total_weight_ = static_cast<float>(total);
  // w tanh = w - 2 w r: the kernel adds up what is taken from the total.
  for (int64_t d = 0; d < width_; ++d) weights_[d] = d < dim_ ? -2.0f * w[d] : 0.0f;
}

void AdditiveTile::split() {
  kernels_.split(powers_.get(), count_ * width_, powers_.get(), centres_.get());
  number_centres();
  make_chunks();
  for (int64_t r = 0; r < count_; ++r) {
    for (int64_t d = 0; d < chunks_.back().last; ++d) slots_[r * width_ + d] += offsets_[d];
  }
}

// The different centres of each dim, in found_ (most_rows, dim); nearly always one or two.
void AdditiveTile::number_centres() {
  std::copy_n(centres_.get(), width_, found_.get());
  std::fill(counts_.get(), counts_.get() + width_, 1);
  std::fill(slots_.get(), slots_.get() + count_ * width_, 0);
  for (int64_t r = 1; r < count_; ++r) {
    const float* centres = centres_.get() + r * width_;
    int32_t differ = 0;
    for (int64_t d = 0; d < width_; ++d) differ |= centres[d] != found_[d];
    for (int64_t d = 0; differ && d < width_; ++d) {
      int32_t slot = 0;
      while (slot < counts_[d] && found_[slot * width_ + d] != centres[d]) ++slot;
      if (slot == counts_[d]) found_[counts_[d]++ * width_ + d] = centres[d];
      slots_[r * width_ + d] = slot;
    }
  }
}

void AdditiveTile::make_chunks() {
  chunks_.clear();
  table_slots_.clear();
  for (int32_t d = 0; d < dim_; d += 2) {
    const int32_t needed = counts_[d] + counts_[d + 1];
    if (chunks_.empty() || chunks_.back().slots + needed > kTableSlots) {
      chunks_.push_back({d, d, static_cast<int32_t>(table_slots_.size()), 0});
    }
    Chunk& chunk = chunks_.back();
    for (int32_t p = d; p < d + 2; ++p) {
      offsets_[p] = chunk.slots;
      chunk.slots += counts_[p];
      // The last dim may be one that only pads: its weight is 0, and any number does.
      for (int32_t i = 0; i < counts_[p]; ++i) {
        table_slots_.push_back({std::min<int64_t>(p, dim_ - 1), found_[i * width_ + p]});
      }
    }
    chunk.last = d + 2;
  }
}

AdditiveRows AdditiveTile::rows(const Chunk& chunk) const {
  return {powers_.get(), slots_.get(), base_.get(), count_, static_cast<int32_t>(width_),
          chunk.first,   chunk.last};
}

AdditiveLanes AdditiveTile::fill_table(const Chunk& chunk, const AdditiveColumns& columns) {
  for (int32_t i = 0; i < chunk.slots; ++i) {
    const Slot& slot = table_slots_[chunk.first_slot + i];
    kernels_.fill(columns.numbers + slot.dim * columns.stride, slot.centre, columns.count,
                  table_.get() + i * additive::kBlock, int64_t{chunk.slots} * additive::kBlock);
  }
  return {table_.get(), columns.base, columns.count, chunk.slots};
}

void AdditiveTile::scores(const AdditiveColumns& columns, float* scores, int64_t stride) {
  for (const Chunk& chunk : chunks_) {
    kernels_.scores(rows(chunk), fill_table(chunk, columns), weights_.get(), scores, stride);
  }
}

void AdditiveTile::add_gradients(const AdditiveColumns& columns, const float* grad, int64_t stride,
                                 float* lane_sums, int64_t lane_stride) {
  for (const Chunk& chunk : chunks_) {
    kernels_.gradients(rows(chunk), fill_table(chunk, columns),
                       {grad, stride, row_sums_.get(), lane_sums, lane_stride, static_cast<int32_t>(dim_),
                        dim_sums_.get(), scratch_.get()});
  }
}

void AdditiveTile::clear_row_sums() {
  std::fill(row_sums_.get(), row_sums_.get() + most_rows_ * width_, 0.0f);
}

void AdditiveTile::clear_dim_sums() { std::fill(dim_sums_.get(), dim_sums_.get() + width_, 0.0); }

}  // namespace fovea::kernels
