#pragma once
#include <algorithm>
#include <cstdint>

#include "fovea/kernels/cpu/decode_parts.h"
#include "fovea/kernels/cpu/tile_programs.h"
#include "fovea/kernels/decode_args.h"

namespace fovea::kernels {

/// What the query rows of one KV head see of their sequence.
class DecodeSight {
 public:
  DecodeSight(const DecodeArgs& args, int64_t batch, int64_t kv_head)
      : args_(args),
        heads_(DecodeGroup(args.n).heads),
        batch_(batch),
        kv_head_(kv_head),
        length_(args.lengths ? args.lengths[batch] : args.n.keys),
        first_query_(ends_with_queries() ? length_ - args.n.queries : 0) {}

  int64_t batch() const { return batch_; }
  int64_t kv_head() const { return kv_head_; }
  /// Keys of the sequence.
  int64_t length() const { return length_; }
  int64_t head(int64_t of_group) const { return kv_head_ * heads_ + of_group; }

  /// Queries before the start of the sequence, which see nothing.
  int64_t absent() const { return std::max<int64_t>(-first_query_, 0); }

  /// Keys [begin, end) and the queries of a head of the group, without those before the start: no functor is
  /// asked about them.
  TileRange range(int64_t begin, int64_t end, int64_t of_group) const {
    return {first_query_ + absent(),      first_query_ + args_.n.queries,      begin, end,
            static_cast<int32_t>(batch_), static_cast<int32_t>(head(of_group))};
  }

  /// What all heads of the group see of keys [begin, end).
  Cover seen(int64_t begin, int64_t end) const {
    const int64_t last = first_query_ + args_.n.queries - 1;
    if (ends_with_queries() && begin > last) return Cover::skip;
    bool none = true, all = !ends_with_queries() || end - 1 <= first_query_;
    for (int64_t h = 0; h < heads_; ++h) {
      const Cover covered = cover(args_.programs, range(begin, end, h));
      none = none && covered == Cover::skip;
      all = all && covered == Cover::full;
    }
    return none ? Cover::skip : all ? Cover::full : Cover::partial;
  }

  /// How many of the `count` keys from `begin` on a query sees at most, whatever the programs say.
  int64_t shown(int64_t query, int64_t begin, int64_t count) const {
    if (!ends_with_queries()) return count;
    return std::clamp<int64_t>(first_query_ + query + 1 - begin, 0, count);
  }

 private:
  bool ends_with_queries() const { return args_.lengths != nullptr; }

  const DecodeArgs& args_;
  int64_t heads_, batch_, kv_head_, length_, first_query_;
};

}  // namespace fovea::kernels
