// The rows of one instruction set, with kVectors and reciprocal() of each; see each_isa.inl.

INLINE NF& at(float* p) { return *reinterpret_cast<NF*>(p); }
INLINE NF at(const float* p) { return *reinterpret_cast<const NF*>(p); }

// The sums of four vectors that stand one after the other.
typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
INLINE Four four_sums(const float* vectors) {
  Four part[4];
  for (int i = 0; i < 4; ++i) {
    const float* vector = vectors + i * FOVEA_LANES;
    part[i] = *reinterpret_cast<const Four*>(vector);
    for (int l = 4; l < FOVEA_LANES; l += 4) part[i] += *reinterpret_cast<const Four*>(vector + l);
  }
  const Four a = __builtin_shufflevector(part[0], part[1], 0, 4, 1, 5) +
                 __builtin_shufflevector(part[0], part[1], 2, 6, 3, 7);
  const Four b = __builtin_shufflevector(part[2], part[3], 0, 4, 1, 5) +
                 __builtin_shufflevector(part[2], part[3], 2, 6, 3, 7);
  return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

KERNEL void split_numbers(const float* numbers, int64_t count, float* powers, float* centres) {
  constexpr float magic = 12582912.0f, step = 2.0f * additive::kReach, huge = std::numeric_limits<float>::max();
  for (int64_t i = 0; i < count; i += FOVEA_LANES) {
    const NF given = at(numbers + i);
    NF a = given < huge ? given : NF{} + huge;
    a = a > -huge ? a : NF{} - huge;
    // Beyond 2^22 steps the magic number no longer rounds; such a number is its own centre.
    const NF steps = a * (1.0f / step), rounded = (steps + magic) - magic;
    const auto far = (steps > 0x1p21f) | (steps < -0x1p21f);
    const NF centre = far ? a : rounded * step;
    at(centres + i) = centre;
    F twice;
    at(twice.x) = (a - centre) * 2.0f;
    store(powers + i, exp(twice));
  }
}

KERNEL void fill_table(const float* numbers, float centre, int32_t lanes, float* table, int64_t block) {
  constexpr float bound = additive::kBound;
  for (int32_t l = 0; l < lanes; l += FOVEA_LANES) {
    NF b = at(numbers + l) + centre;
    b = b < bound ? b : NF{} + bound;
    b = b > -bound ? b : NF{} - bound;
    F twice;
    at(twice.x) = b * 2.0f;
    store(table + l / additive::kBlock * block + l % additive::kBlock, exp(twice));
  }
}

// w1 / a + w2 / b = (w1 b + w2 a) / (a b), a = 1 + u1 t1, b = 1 + u2 t2; and w1 b + w2 a = w1 + w2 + w1 u2 t2 + w2 u1 t1.
template <int V>
INLINE void score_row(const AdditiveRows& rows, const float* table, const float* weights, int32_t r, NF (&total)[V]) {
  const float* powers = rows.powers + int64_t{r} * rows.width;
  const int32_t* slots = rows.slots + int64_t{r} * rows.width;
  for (int32_t d = rows.first; d < rows.last; d += 2) {
    const float *one = table + slots[d] * additive::kBlock, *two = table + slots[d + 1] * additive::kBlock;
    const NF u1 = NF{} + powers[d], u2 = NF{} + powers[d + 1], w1 = NF{} + weights[d], w2 = NF{} + weights[d + 1];
    const NF both = w1 + w2, cross1 = w2 * u1, cross2 = w1 * u2;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const NF t1 = at(one + v * FOVEA_LANES), t2 = at(two + v * FOVEA_LANES);
      const NF above = (cross1 * t1 + both) + cross2 * t2;
      const NF below = (u1 * t1 + 1.0f) * (u2 * t2 + 1.0f);
      total[v] = above * reciprocal(below) + total[v];
    }
  }
}

template <int V>
INLINE void score_lanes(const AdditiveRows& rows, const AdditiveLanes& lanes, const float* weights, float* scores,
                        int64_t stride, int32_t lane) {
  const float* table = lanes.table + lane / additive::kBlock * lanes.slots * additive::kBlock + lane % additive::kBlock;
  for (int32_t r = 0; r < rows.count; ++r) {
    float* to = scores + r * stride + lane;
    NF total[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const int32_t l = v * FOVEA_LANES;
      total[v] = rows.first == 0 ? at(lanes.base + lane + l) + rows.base[r] : at(to + l);
    }
    score_row<V>(rows, table, weights, r, total);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) at(to + v * FOVEA_LANES) = total[v];
  }
}

KERNEL void score_rows(const AdditiveRows& rows, const AdditiveLanes& lanes, const float* weights, float* scores,
                       int64_t stride) {
  constexpr int32_t kMost = kVectors * FOVEA_LANES;
  int32_t lane = 0;
  for (; lane + kMost <= lanes.count; lane += kMost) {
    score_lanes<kVectors>(rows, lanes, weights, scores, stride, lane);
  }
  for (; lane < lanes.count; lane += FOVEA_LANES) score_lanes<1>(rows, lanes, weights, scores, stride, lane);
}

// Two dims, V vectors of lanes, all rows: r1 = b / (a b), r2 = a / (a b).
template <int V>
INLINE void pair_gradient(const AdditiveRows& rows, const AdditiveLanes& lanes, const AdditiveGradients& to, int32_t d,
                          int32_t lane, NF (&dim_sum)[2]) {
  const float* table = lanes.table + lane / additive::kBlock * lanes.slots * additive::kBlock + lane % additive::kBlock;
  NF lane_sum[2][V] = {}, own_sum[2] = {};
  for (int32_t r = 0; r < rows.count; ++r) {
    const int64_t place = int64_t{r} * rows.width + d;
    const float *one = table + rows.slots[place] * additive::kBlock, *two = table + rows.slots[place + 1] * additive::kBlock;
    const NF u1 = NF{} + rows.powers[place], u2 = NF{} + rows.powers[place + 1];
    const float* grad = to.grad + r * to.stride + lane;
    float* scratch = to.scratch + r * 2 * FOVEA_LANES;
    NF sum1 = at(scratch), sum2 = at(scratch + FOVEA_LANES);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const NF a = u1 * at(one + v * FOVEA_LANES) + 1.0f, b = u2 * at(two + v * FOVEA_LANES) + 1.0f;
      const NF inverse = reciprocal(a * b), r1 = b * inverse, r2 = a * inverse, g = at(grad + v * FOVEA_LANES);
      const NF part1 = g * r1, part2 = g * r2, slope1 = part1 - part1 * r1, slope2 = part2 - part2 * r2;
      own_sum[0] += part1;
      own_sum[1] += part2;
      lane_sum[0][v] += slope1;
      lane_sum[1][v] += slope2;
      sum1 += slope1;
      sum2 += slope2;
    }
    at(scratch) = sum1;
    at(scratch + FOVEA_LANES) = sum2;
  }
  for (int p = 0; p < 2; ++p) dim_sum[p] += own_sum[p];
  for (int p = 0; p < 2 && d + p < to.dims; ++p) {
    float* sums = to.lane_sums + (d + p) * to.lane_stride + lane;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) at(sums + v * FOVEA_LANES) += lane_sum[p][v];
  }
}

// The sums of a row's two vectors of scratch, and in the last place those of the dims.
INLINE void add_sums(const AdditiveRows& rows, const AdditiveGradients& to, int32_t d) {
  const float* scratch = to.scratch;
  int32_t r = 0;
  for (; r + 2 <= rows.count; r += 2, scratch += 4 * FOVEA_LANES) {
    const Four sums = four_sums(scratch);
    float* row = to.row_sums + int64_t{r} * rows.width + d;
    row[0] += sums[0];
    row[1] += sums[1];
    row[rows.width] += sums[2];
    row[rows.width + 1] += sums[3];
  }
  const Four sums = four_sums(scratch);
  const bool odd = r < rows.count;
  if (odd) {
    to.row_sums[int64_t{r} * rows.width + d] += sums[0];
    to.row_sums[int64_t{r} * rows.width + d + 1] += sums[1];
  }
  to.dim_sums[d] += sums[odd ? 2 : 0];
  to.dim_sums[d + 1] += sums[odd ? 3 : 1];
}

KERNEL void gradient_rows(const AdditiveRows& rows, const AdditiveLanes& lanes, const AdditiveGradients& to) {
  constexpr int32_t kMost = kVectors * FOVEA_LANES;
  for (int32_t d = rows.first; d < rows.last; d += 2) {
    for (int32_t i = 0; i < 2 * rows.count + 4; ++i) at(to.scratch + i * FOVEA_LANES) = NF{};
    NF dim_sum[2] = {};
    int32_t lane = 0;
    for (; lane + kMost <= lanes.count; lane += kMost) {
      pair_gradient<kVectors>(rows, lanes, to, d, lane, dim_sum);
    }
    for (; lane < lanes.count; lane += FOVEA_LANES) pair_gradient<1>(rows, lanes, to, d, lane, dim_sum);
    for (int p = 0; p < 2; ++p) at(to.scratch + (2 * rows.count + p) * FOVEA_LANES) = dim_sum[p];
    add_sums(rows, to, d);
  }
}

static AdditiveKernels additive() { return {split_numbers, fill_table, score_rows, gradient_rows}; }
