// The words of one vector length; included by philox_lanes.h once for each instruction set.
namespace fovea::simd {

namespace words {
template <>
struct Native<FOVEA_LANES> {
  typedef uint32_t w __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
  typedef uint64_t wide __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
};
}  // namespace words

#define FOVEA_OP FOVEA_TARGET static inline __attribute__((unused))
#define NW words::Native<FOVEA_LANES>::w
#define WIDE words::Native<FOVEA_LANES>::wide

FOVEA_OP void multiply_words(const NW& x, uint32_t factor, NW& high, NW& low) {
  const WIDE even = (WIDE)FOVEA_MULTIPLY_EVEN(x, factor), odd = (WIDE)FOVEA_MULTIPLY_EVEN((WIDE)x >> 32, factor);
  const WIDE upper = WIDE{} + 0xffffffff00000000u;
  high = (NW)((even >> 32) | (odd & upper));
  low = (NW)((even & ~upper) | (odd << 32));
}

// philox() of the counters c of each lane, in their place.
FOVEA_OP void philox_words(uint64_t key, NW (&c)[4]) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    NW a_high, a_low, b_high, b_low;
    multiply_words(c[0], 0xD2511F53, a_high, a_low);
    multiply_words(c[2], 0xCD9E8D57, b_high, b_low);
    c[0] = b_high ^ c[1] ^ k0;
    c[1] = b_low;
    c[2] = a_high ^ c[3] ^ k1;
    c[3] = a_low;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
}

// The first of the four words of each lane.
FOVEA_OP Ints<FOVEA_LANES> philox_first(uint64_t key, const Ints<FOVEA_LANES> (&counters)[4]) {
  NW c[4];
  for (int i = 0; i < 4; ++i) c[i] = *reinterpret_cast<const NW*>(counters[i].x);
  philox_words(key, c);
  Ints<FOVEA_LANES> r;
  *reinterpret_cast<NW*>(r.x) = c[0];
  return r;
}

// In [2^-32, 1): the upper 31 bits, with the digits of a float where the number is small.
FOVEA_OP Floats<FOVEA_LANES> uniform_of_bits(const Ints<FOVEA_LANES>& bits) {
  typedef lanes::Native<FOVEA_LANES>::f Numbers;
  typedef lanes::Native<FOVEA_LANES>::i Signed;
  const Signed upper = (Signed)(*reinterpret_cast<const NW*>(bits.x) >> 1);
  const Numbers x = (__builtin_convertvector(upper, Numbers) + 0.5f) * 0x1p-31f, most = Numbers{} + 0x1.fffffep-1f;
  Floats<FOVEA_LANES> r;
  *reinterpret_cast<Numbers*>(r.x) = x < most ? x : most;
  return r;
}

#undef FOVEA_OP
#undef NW
#undef WIDE

}  // namespace fovea::simd
