// The bits of one instruction set, with Vector and signs() of each; see each_isa.inl.

typedef simd::words::Native<FOVEA_LANES>::w Words;
typedef int32_t Signed __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
typedef float Numbers __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
typedef uint16_t Shorts __attribute__((vector_size(2 * FOVEA_LANES), aligned(2), may_alias));

INLINE Words lane_numbers() {
  Words lane;
  for (int i = 0; i < FOVEA_LANES; ++i) lane[i] = static_cast<uint32_t>(i);
  return lane;
}

// The bits of 8 slices of 16 queries that share counters, for 16 lanes of `first` and `second`.
template <class Counters>
INLINE void slice_bits(const Dropout& dropout, const Counters& counters, uint16_t (&bits)[8]) {
  for (auto& b : bits) b = 0;
  for (int part = 0; part < 16; part += FOVEA_LANES) {
    Words c[4];
    counters(lane_numbers() + static_cast<uint32_t>(part), c);
    simd::philox_words(dropout.seed, c);
    for (int w = 0; w < 4; ++w) {
      const Signed low = (Signed)(c[w] & 0xffffu), high = (Signed)(c[w] >> 16);
      const auto limit = static_cast<int32_t>(dropout.threshold);
      bits[2 * w] |= static_cast<uint16_t>(signs((Vector)(low >= limit)) << part);
      bits[2 * w + 1] |= static_cast<uint16_t>(signs((Vector)(high >= limit)) << part);
    }
  }
}

KERNEL void plain_bits(const Dropout& dropout, const ScoreTile& t, uint16_t* kept) {
  uint16_t bits[8];
  for (int32_t group = t.q0 / 128; group * 128 < t.q0 + t.rows; ++group) {
    for (uint32_t lane = 0; lane < 16; ++lane) {
      for (int32_t c = 0; c < t.columns; c += 16) {
        slice_bits(dropout, [&](Words i, Words (&counter)[4]) FOVEA_TARGET {
          counter[0] = Words{} + (static_cast<uint32_t>(group) * 16 + lane);
          counter[1] = i + static_cast<uint32_t>(t.k0 + c);
          counter[2] = Words{} + static_cast<uint32_t>(t.head);
          counter[3] = Words{} + static_cast<uint32_t>(t.batch);
        }, bits);
        for (int slice = 0; slice < 8; ++slice) {
          const int32_t row = group * 128 + slice * 16 + static_cast<int32_t>(lane) - t.q0;
          if (row >= 0 && row < t.rows) kept[(row * int64_t{t.columns} + c) / 16] = bits[slice];
        }
      }
    }
  }
}

KERNEL void transposed_bits(const Dropout& dropout, const ScoreTile& t, uint16_t* kept) {
  uint16_t bits[8];
  for (int32_t row = 0; row < t.rows; ++row) {
    for (int32_t group = t.q0 / 128; group * 128 < t.q0 + t.columns; ++group) {
      slice_bits(dropout, [&](Words i, Words (&counter)[4]) FOVEA_TARGET {
        counter[0] = i + static_cast<uint32_t>(group) * 16;
        counter[1] = Words{} + static_cast<uint32_t>(t.k0 + row);
        counter[2] = Words{} + static_cast<uint32_t>(t.head);
        counter[3] = Words{} + static_cast<uint32_t>(t.batch);
      }, bits);
      for (int slice = 0; slice < 8; ++slice) {
        const int32_t c = group * 128 + slice * 16 - t.q0;
        if (c >= 0 && c < t.columns) kept[(row * int64_t{t.columns} + c) / 16] = bits[slice];
      }
    }
  }
}

KERNEL void apply_bits(const float* from, float* to, const uint16_t* kept, int64_t count, float factor) {
  const Words lane_bit = (Words{} + 1u) << lane_numbers();
  for (int64_t i = 0; i < count; i += FOVEA_LANES) {
    const auto bits = static_cast<uint32_t>(kept[i / 16]) >> (i % 16);
    const Signed keep = ((Words{} + bits) & lane_bit) != 0;
    const Numbers scaled = *reinterpret_cast<const Numbers*>(from + i) * factor;
    *reinterpret_cast<Signed*>(to + i) = (Signed)scaled & keep;
  }
}

KERNEL void apply_narrow_bits(void* numbers, const uint16_t* kept, int64_t count) {
  Shorts lane_bit;
  for (int i = 0; i < FOVEA_LANES; ++i) lane_bit[i] = static_cast<uint16_t>(1u << i);
  for (int64_t i = 0; i < count; i += FOVEA_LANES) {
    const auto bits = static_cast<uint16_t>(kept[i / 16] >> (i % 16));
    auto* to = reinterpret_cast<Shorts*>(static_cast<uint16_t*>(numbers) + i);
    *to &= (Shorts)(((Shorts{} + bits) & lane_bit) != 0);
  }
}

static DropoutKernels kernels() { return {plain_bits, transposed_bits, apply_bits, apply_narrow_bits}; }
