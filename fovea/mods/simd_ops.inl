// The operators of one vector length; included by simd.h once for each instruction set.
namespace fovea::simd {

#define FOVEA_OP FOVEA_TARGET static inline __attribute__((unused))
#define F Floats<FOVEA_LANES>
#define I Ints<FOVEA_LANES>
#define B Bools<FOVEA_LANES>

namespace lanes {
template <int N>
struct Native;
template <>
struct Native<FOVEA_LANES> {
  typedef float f __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
  typedef int32_t i __attribute__((vector_size(4 * FOVEA_LANES), aligned(4), may_alias));
};
}  // namespace lanes

#define NF lanes::Native<FOVEA_LANES>::f
#define NI lanes::Native<FOVEA_LANES>::i
#define AS_F(v) (*reinterpret_cast<const NF*>((v).x))
#define AS_I(v) (*reinterpret_cast<const NI*>((v).x))

#define MAKE(type, native, expression)            \
  {                                               \
    type r;                                       \
    *reinterpret_cast<native*>(r.x) = expression; \
    return r;                                     \
  }

FOVEA_OP F broadcast(float s, F) MAKE(F, NF, s - NF{})
FOVEA_OP I broadcast(int32_t s, I) MAKE(I, NI, s + NI{})
FOVEA_OP F load(const float* p, F) MAKE(F, NF, *reinterpret_cast<const NF*>(p))
FOVEA_OP void store(float* p, F a) { *reinterpret_cast<NF*>(p) = AS_F(a); }

#define ARITHMETIC(op)                                                        \
  FOVEA_OP F operator op(F a, F b) MAKE(F, NF, AS_F(a) op AS_F(b))            \
  FOVEA_OP F operator op(F a, float b) MAKE(F, NF, AS_F(a) op b)              \
  FOVEA_OP F operator op(float a, F b) MAKE(F, NF, a op AS_F(b))
ARITHMETIC(+)
ARITHMETIC(-)
ARITHMETIC(*)
ARITHMETIC(/)
#undef ARITHMETIC
#define ARITHMETIC(op)                                                        \
  FOVEA_OP I operator op(I a, I b) MAKE(I, NI, AS_I(a) op AS_I(b))            \
  FOVEA_OP I operator op(I a, int32_t b) MAKE(I, NI, AS_I(a) op b)            \
  FOVEA_OP I operator op(int32_t a, I b) MAKE(I, NI, a op AS_I(b))
ARITHMETIC(+)
ARITHMETIC(-)
ARITHMETIC(*)
ARITHMETIC(%)
#undef ARITHMETIC
#define COMPARE(op)                                                           \
  FOVEA_OP B operator op(F a, F b) MAKE(B, NI, AS_F(a) op AS_F(b))            \
  FOVEA_OP B operator op(F a, float b) MAKE(B, NI, AS_F(a) op (b - NF{}))     \
  FOVEA_OP B operator op(I a, I b) MAKE(B, NI, AS_I(a) op AS_I(b))            \
  FOVEA_OP B operator op(I a, int32_t b) MAKE(B, NI, AS_I(a) op (b + NI{}))   \
  FOVEA_OP B operator op(int32_t a, I b) MAKE(B, NI, (a + NI{}) op AS_I(b))
COMPARE(<)
COMPARE(<=)
COMPARE(>)
COMPARE(>=)
COMPARE(==)
#undef COMPARE
FOVEA_OP B operator&(B a, B b) MAKE(B, NI, AS_I(a) & AS_I(b))
FOVEA_OP B operator|(B a, B b) MAKE(B, NI, AS_I(a) | AS_I(b))
FOVEA_OP B broadcast(bool s, B) MAKE(B, NI, -int32_t{s} + NI{})
FOVEA_OP B broadcast(B a, B) { return a; }
FOVEA_OP B operator&(B a, bool b) { return a & broadcast(b, B{}); }
FOVEA_OP B operator&(bool a, B b) { return broadcast(a, B{}) & b; }
FOVEA_OP B operator|(B a, bool b) { return a | broadcast(b, B{}); }
FOVEA_OP B operator|(bool a, B b) { return broadcast(a, B{}) | b; }
FOVEA_OP B operator!(B a) MAKE(B, NI, ~AS_I(a))
FOVEA_OP B operator==(B a, bool b) { return b ? a : !a; }
FOVEA_OP F operator-(F a) MAKE(F, NF, -AS_F(a))

FOVEA_OP F select(B c, F a, F b) MAKE(F, NI, (AS_I(c) & AS_I(a)) | (~AS_I(c) & AS_I(b)))
FOVEA_OP F abs(F a) MAKE(F, NI, AS_I(a) & 0x7fffffff)
FOVEA_OP I abs(I a) MAKE(I, NI, (AS_I(a) ^ (AS_I(a) >> 31)) - (AS_I(a) >> 31))
FOVEA_OP F max(F a, F b) MAKE(F, NF, AS_F(a) > AS_F(b) ? AS_F(a) : AS_F(b))
FOVEA_OP F min(F a, F b) MAKE(F, NF, AS_F(a) < AS_F(b) ? AS_F(a) : AS_F(b))
FOVEA_OP F to_float(I a) MAKE(F, NF, __builtin_convertvector(AS_I(a), NF))

// e^a; 0 below -87.33 (no denormals), infinity above 88.37; relative error below 2e-7; NaN stays NaN. Cody-Waite
// reduction, polynomial of degree 6. Beyond both ends anything is computed, and not used.
FOVEA_OP F exp(F a) {
  const NF given = AS_F(a);
  // 1.5 * 2^23: adding it rounds to the nearest integer, which then stands in the lowest bits; with it the 127 of a
  // float's exponent.
  const NF magic = NF{} + (12582912.0f + 127.0f);
  const NF shifted = given * 1.44269504f + magic;
  const NF n = shifted - magic;
  NF r = given - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  NF p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const NI power = reinterpret_cast<const NI&>(shifted) << 23;
  NF value = p * reinterpret_cast<const NF&>(power);
  value = given > NF{} + 88.37f ? NF{} + __builtin_inff() : value;
  value = given < NF{} - 87.33f ? NF{} : value;
  MAKE(F, NF, value)
}

// Relative error below 3e-7; NaN stays NaN. Near 0, where 1 - 2 / (e^2a + 1) would lose its digits, a polynomial
// (Cephes, tanhf).
FOVEA_OP F tanh(F a) {
  const NF given = AS_F(a), square = given * given;
  NF p = square * -5.70498872745e-3f + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const F size = abs(a);
  const F large = 1.0f - 2.0f / (exp(size + size) + 1.0f);
  NF small = p * square * given + given;
  const NI sign = AS_I(a) & INT32_MIN;
  const NI signed_large = AS_I(large) | sign;
  const NI close = AS_F(size) < NF{} + 0.625f;
  MAKE(F, NI, (close & reinterpret_cast<const NI&>(small)) | (~close & signed_large))
}

// Relative error below 2e-7; -inf of 0 and denormals, NaN of what is below 0; NaN and infinity stay (Cephes, logf).
FOVEA_OP F log(F a) {
  const NF given = AS_F(a), infinity = NF{} + __builtin_inff();
  const NI bits = AS_I(a), half = (bits & 0x007fffff) | 0x3f000000;
  const NF part = reinterpret_cast<const NF&>(half);  // in [1/2, 1)
  const NI low = part < NF{} + 0.707106781f;          // 0 or -1
  const NF n = __builtin_convertvector((bits >> 23) - 126 + low, NF);
  const NF x = part + (low ? part : NF{}) - 1.0f, square = x * x;
  NF p = x * 7.0376836292e-2f - 1.1514610310e-1f;
  p = p * x + 1.1676998740e-1f;
  p = p * x - 1.2420140846e-1f;
  p = p * x + 1.4249322787e-1f;
  p = p * x - 1.6668057665e-1f;
  p = p * x + 2.0000714765e-1f;
  p = p * x - 2.4999993993e-1f;
  p = p * x + 3.3333331174e-1f;
  p = p * x * square - n * 2.12194440e-4f - square * 0.5f;
  NF value = x + p + n * 0.693359375f;
  value = given < infinity ? value : given;  // NaN too
  value = given < NF{} + 1.17549435e-38f ? -infinity : value;
  value = given < NF{} ? NF{} + __builtin_nanf("") : value;
  MAKE(F, NF, value)
}

#undef MAKE
#undef AS_F
#undef AS_I
#undef NF
#undef NI
#undef F
#undef I
#undef B
#undef FOVEA_OP

}  // namespace fovea::simd
