// One query of deformable attention, of one instruction set; see each_isa.inl.

#include "fovea/kernels/cpu/numbers.inl"
#include "fovea/kernels/cpu/store_sums.inl"

INLINE NI load_ints(const int32_t* p) { return *reinterpret_cast<const NI*>(p); }
INLINE void store_ints(int32_t* p, NI x) { *reinterpret_cast<NI*>(p) = x; }

template <int kFirst>
INLINE NF apart(NF a, NF b) {
  return __builtin_shuffle(a, b, load_ints(kAlternateLanes<FOVEA_LANES, kFirst>.apart));
}
template <int kFirst>
INLINE NF by_turns(NF a, NF b) {
  return __builtin_shuffle(a, b, load_ints(kAlternateLanes<FOVEA_LANES, kFirst>.by_turns));
}

// The place below `x` on an axis, and how far beyond it x is. Far away is as good as just beyond the map.
INLINE NI split(NF x, NF size, NF& beyond) {
  x = x > NF{} - 2.0f ? x : NF{} - 2.0f;
  x = x < size + 1.0f ? x : size + 1.0f;
  NI whole = __builtin_convertvector(x, NI);
  whole += (NI)(__builtin_convertvector(whole, NF) > x);
  beyond = x - __builtin_convertvector(whole, NF);
  return whole;
}

// The nearest place on an axis.
INLINE NI within(NI x, NI size) {
  x &= x > 0;
  return x < size ? x : size - 1;
}

KERNEL bool find_corners(const PointMaps& maps, const float* locations, const float* weights, const Corners& c) {
  NI beyond = {};
  for (int64_t p = 0; p < maps.points; p += FOVEA_LANES) {
    NF fx, fy;
    const NF first = load_number(locations + 2 * p), second = load_number(locations + 2 * p + FOVEA_LANES),
             x = apart<0>(first, second), y = apart<1>(first, second);
    const NF columns = load_number(maps.columns + p), rows = load_number(maps.rows + p);
    const NI width = load_ints(maps.width + p), left = split(x * columns - 0.5f, columns, fx),
             top = split(y * rows - 0.5f, rows, fy);
    const NI height = load_ints(maps.height + p);  // rows as a float may be more
    const NI at_left = (left >= 0) & (left < width), at_right = (left >= -1) & (left < width - 1),
             at_top = (top >= 0) & (top < height), at_bottom = (top >= -1) & (top < height - 1);
    const NF weight = load_number(weights + p), upper = weight * (1.0f - fy), lower = weight * fy;
    const NI inside[4] = {at_top & at_left, at_top & at_right, at_bottom & at_left, at_bottom & at_right};
    const NI none = ~(inside[0] | inside[1] | inside[2] | inside[3]);
    beyond |= none;
    const NI above = load_ints(maps.first + p) + within(top, height) * width + within(left, width),
             below = above + (width & at_top & at_bottom), right = at_left & at_right & 1;
    const NI place[4] = {above, above + right, below, below + right};
    const NF share[4] = {upper * (1.0f - fx), upper * fx, lower * (1.0f - fx), lower * fx};
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      store_ints(c.inside[i] + p, inside[i]);
      store_ints(c.place[i] + p, place[i]);
      store_number(c.share[i] + p, (NF)((NI)share[i] & (inside[i] | none)));
    }
    store_number(c.x + p, fx);
    store_number(c.y + p, fy);
  }
  return any(beyond);
}

// Vectors of the result from d on. A sum for each corner: additions to one would wait for each other. Values are masked
// only where a point lies wholly beyond its map, and none of its own corners can stand for those there.
template <class T, int Vectors, bool kBeyond>
INLINE void gather_vectors(const Corners& c, int64_t points, const ValueRows& v, int64_t d, T* out) {
  NF sums[4][Vectors] = {};
  const T* values = static_cast<const T*>(v.data) + d;
  for (int64_t p = 0; p < points; ++p) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const T* row = values + c.place[i][p] * v.stride;
#pragma GCC unroll 2
      for (int u = 0; u < Vectors; ++u) {
        NF value = load_number(row + u * FOVEA_LANES);
        if constexpr (kBeyond) value = (NF)((NI)value & c.inside[i][p]);
        sums[i][u] += c.share[i][p] * value;
      }
    }
  }
#pragma GCC unroll 2
  for (int u = 0; u < Vectors; ++u) {
    store_number(out + d + u * FOVEA_LANES, (sums[0][u] + sums[1][u]) + (sums[2][u] + sums[3][u]));
  }
}

template <class T, bool kBeyond>
KERNEL void gather(const Corners& c, int64_t points, const ValueRows& v, void* to) {
  T* out = static_cast<T*>(to);
  int64_t d = 0;
  for (; d + 2 * FOVEA_LANES <= v.dim; d += 2 * FOVEA_LANES) gather_vectors<T, 2, kBeyond>(c, points, v, d, out);
  for (; d + FOVEA_LANES <= v.dim; d += FOVEA_LANES) gather_vectors<T, 1, kBeyond>(c, points, v, d, out);
  for (; d < v.dim; ++d) {
    float sum = 0.0f;
    for (int64_t p = 0; p < points; ++p) {
      for (int i = 0; i < 4; ++i) {
        if (!c.inside[i][p]) continue;
        sum += c.share[i][p] * static_cast<float>(static_cast<const T*>(v.data)[c.place[i][p] * v.stride + d]);
      }
    }
    out[d] = static_cast<T>(sum);
  }
}

// Numbers from d on, as many vectors of them.
template <class T, int Vectors>
INLINE void scatter_vectors(const Corners& c, int64_t points, const ValueRows& v, const float* grad_out, float* grad_v,
                            int64_t d, float* const* dot) {
  const T* values = static_cast<const T*>(v.data) + d;
  NF g[Vectors];
  for (int u = 0; u < Vectors; ++u) g[u] = load_number(grad_out + d + u * FOVEA_LANES);
  for (int64_t p = 0; p < points; ++p) {
    NF products[4] = {};
    float sums[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      if (!c.inside[i][p]) continue;
      const T* row = values + c.place[i][p] * v.stride;
      float* grad = grad_v + c.place[i][p] * v.dim + d;
#pragma GCC unroll 2
      for (int u = 0; u < Vectors; ++u) {
        products[i] += g[u] * load_number(row + u * FOVEA_LANES);
        store_number(grad + u * FOVEA_LANES, load_number(grad + u * FOVEA_LANES) + c.share[i][p] * g[u]);
      }
    }
    store_sums(products[0], products[1], products[2], products[3], sums);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) dot[i][p] += sums[i];
  }
}

template <class T>
KERNEL void scatter(const Corners& c, int64_t points, const ValueRows& v, const float* grad_out, float* grad_v,
                    float* const* dot) {
  for (int i = 0; i < 4; ++i) std::fill_n(dot[i], points, 0.0f);
  int64_t d = 0;
  for (; d + 2 * FOVEA_LANES <= v.dim; d += 2 * FOVEA_LANES) {
    scatter_vectors<T, 2>(c, points, v, grad_out, grad_v, d, dot);
  }
  for (; d + FOVEA_LANES <= v.dim; d += FOVEA_LANES) scatter_vectors<T, 1>(c, points, v, grad_out, grad_v, d, dot);
  for (; d < v.dim; ++d) {
    for (int64_t p = 0; p < points; ++p) {
      for (int i = 0; i < 4; ++i) {
        if (!c.inside[i][p]) continue;
        const int64_t place = c.place[i][p];
        dot[i][p] += grad_out[d] * static_cast<float>(static_cast<const T*>(v.data)[place * v.stride + d]);
        grad_v[place * v.dim + d] += c.share[i][p] * grad_out[d];
      }
    }
  }
}

KERNEL void find_slopes(const PointMaps& maps, const Corners& c, const PointSlopes& s) {
  for (int64_t p = 0; p < maps.points; p += FOVEA_LANES) {
    const NF a = load_number(s.dot[0] + p), b = load_number(s.dot[1] + p), e = load_number(s.dot[2] + p),
             f = load_number(s.dot[3] + p), x = load_number(c.x + p), y = load_number(c.y + p);
    const NF upper = a + (b - a) * x, lower = e + (f - e) * x, weight = load_number(s.weights + p);
    store_number(s.grad_weights + p, upper + (lower - upper) * y);
    const NF along_x = weight * load_number(maps.columns + p) * ((b - a) * (1.0f - y) + (f - e) * y),
             along_y = weight * load_number(maps.rows + p) * (lower - upper);
    store_number(s.grad_locations + 2 * p, by_turns<0>(along_x, along_y));
    store_number(s.grad_locations + 2 * p + FOVEA_LANES, by_turns<1>(along_x, along_y));
  }
}

template <class T>
KERNEL void widen(const void* from, int64_t count, float* to) {
  const T* numbers = static_cast<const T*>(from);
  int64_t d = 0;
  for (; d + FOVEA_LANES <= count; d += FOVEA_LANES) store_number(to + d, load_number(numbers + d));
  for (; d < count; ++d) to[d] = static_cast<float>(numbers[d]);
}

template <class T>
KERNEL void narrow(const float* from, int64_t count, void* to) {
  T* numbers = static_cast<T*>(to);
  int64_t d = 0;
  for (; d + FOVEA_LANES <= count; d += FOVEA_LANES) store_number(numbers + d, load_number(from + d));
  for (; d < count; ++d) numbers[d] = static_cast<T>(from[d]);
}

template <class T>
DeformableKernels kernels_of() {
  return {find_corners, gather<T, false>, gather<T, true>, scatter<T>, find_slopes, widen<T>, narrow<T>};
}

static DeformableKernels kernels(Type type) {
  switch (type) {
    case Type::f32:
      return kernels_of<float>();
    case Type::bf16:
      return kernels_of<c10::BFloat16>();
    case Type::f16:
      return kernels_of<c10::Half>();
  }
  return {};
}
