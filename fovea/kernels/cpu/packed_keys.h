#pragma once
#include <cstdint>
#include <vector>

#include "fovea/kernels/attend_args.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"

namespace fovea::kernels {

/// Keys and values of every key head, or of one at a time, packed by blocks of kBlock keys; the last block is
/// narrower. T is the operands' type, C that of the products. A value_dim of 0: keys alone.
template <class T, class C>
class PackedKeys {
 public:
  static constexpr int64_t kBlock = 512;

  /// Every head.
  PackedKeys(const AttendSizes& n, const Operand& k, const Operand& v)
      : PackedKeys(n, k, v, Heads{0, n.batch * n.kv_heads}) {
    for_each_task(
        n.batch * n.kv_heads * blocks_, [] { return 0; },
        [&](int, int64_t i) { pack(i / blocks_, i % blocks_); });
  }

  /// None yet, and room for one.
  static PackedKeys one_head(const AttendSizes& n, const Operand& k, const Operand& v) {
    return {n, k, v, Heads{-1, 1}};
  }

  /// Goes to a head, where there is room for one.
  void load(int64_t head) {
    if (head == first_) return;
    first_ = head;
    for (int64_t block = 0; block < blocks_; ++block) {
      poisoned_[block].clear();
      pack(head, block);
    }
  }

  /// Of keys as packed: a product of bfloat16 takes whole pairs.
  int64_t dim() const { return dim_; }

  /// Keys of the block at k0, those that only pad it included.
  int64_t width(int64_t k0) const { return std::min(kBlock, padded_ - k0); }

  /// B operand of scores of keys k0 + offset ...; its rows are width(k0) apart.
  const C* keys(int64_t head, int64_t k0, int64_t offset) const {
    return k_.get() + (place(head) + k0) * dim_ + offset * kPair<C>;
  }
  /// B operand of outputs of keys from k0; its rows are value_dim apart.
  const C* values(int64_t head, int64_t k0) const { return v_.get() + (place(head) + k0) * n_.value_dim; }
  /// Keys of the block at k0, counted from it, whose values are not all finite; those are packed as 0.
  const std::vector<int64_t>& poisoned(int64_t head, int64_t k0) const {
    return poisoned_[(head - first_) * blocks_ + k0 / kBlock];
  }
  /// The values of a key as they were given.
  const T* given_values(int64_t head, int64_t key) const { return rows(v_given_, head, key, 1, 0).data; }

 private:
  struct Heads {
    int64_t first, count;
  };

  PackedKeys(const AttendSizes& n, const Operand& k, const Operand& v, Heads heads)
      : n_(n),
        k_given_(k),
        v_given_(v),
        first_(heads.first),
        padded_(round_up(n.keys, kKeyStep<C>)),
        dim_(round_up(n.dim, kPair<C>)),
        blocks_((n.keys + kBlock - 1) / kBlock),
        k_(heads.count * padded_ * dim_),
        v_(heads.count * padded_ * n.value_dim),
        poisoned_(heads.count * blocks_) {}

  int64_t place(int64_t head) const { return (head - first_) * padded_; }

  Rows<T> rows(const Operand& t, int64_t head, int64_t key, int64_t count, int64_t dim) const {
    return rows_of<T>(t, head / n_.kv_heads, head % n_.kv_heads, key, count, dim);
  }

  void pack(int64_t head, int64_t block) {
    const int64_t k0 = block * kBlock, count = std::min(n_.keys - k0, kBlock), value_dim = n_.value_dim;
    pack_transposed(rows(k_given_, head, k0, count, n_.dim), width(k0), k_.get() + (place(head) + k0) * dim_);
    pack_rows(rows(v_given_, head, k0, count, value_dim), width(k0),
              v_.get() + (place(head) + k0) * value_dim, poisoned_[(head - first_) * blocks_ + block]);
  }

  AttendSizes n_;
  Operand k_given_, v_given_;
  int64_t first_;  // of the heads that are packed
  int64_t padded_, dim_, blocks_;
  Buffer<C> k_, v_;
  std::vector<std::vector<int64_t>> poisoned_;
};

}  // namespace fovea::kernels
