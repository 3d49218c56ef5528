#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace fovea {

/// T5's buckets of distances: half of a side's buckets for the distances 0, 1, 2, ..., the rest for distances
/// up to max_distance in logarithmic steps, and the last for all beyond. Both sides have buckets where
/// bidirectional (an encoder); otherwise keys after the query share bucket 0 (a decoder).
struct T5Buckets {
  bool bidirectional = true;
  int64_t max_distance = 128;
};

/// The bucket of each distance j - i, any shape, int64: in 0 ... num_buckets - 1. The logarithm is taken and
/// divided in float32, as transformers does, bit for bit. Throws fovea::Error (usage) unless distances are
/// int64, num_buckets is at least 2 (4 if bidirectional) and max_distance above the distances with a bucket
/// of their own.   Source: T5 (Raffel et al. 2020), section 2.1, and its published code.
at::Tensor t5_buckets(const at::Tensor& distances, int64_t num_buckets, const T5Buckets& buckets = {});

/// T5's embedding of buckets as AttendOptions::relative_table: (num_buckets, H) -> (H, 2 max_distance + 1),
/// for queries and keys of any length. Differentiable. Errors as t5_buckets().
at::Tensor t5_relative_table(const at::Tensor& embedding, const T5Buckets& buckets = {});

}  // namespace fovea
