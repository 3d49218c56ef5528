// What tests/kernels/leaked_symbols must find: a helper of AVX-512 that every file may bring.
#pragma GCC push_options
#pragma GCC target("avx512f")
inline float sum_of_squares(const float* x, int count) {
  float sum = 0;
  for (int i = 0; i < count; ++i) sum += x[i] * x[i];
  return sum;
}
float (*leaked_symbol())(const float*, int) { return sum_of_squares; }
#pragma GCC pop_options

namespace avx2 {
__attribute__((target("avx2,fma"))) float kept(const float* x) { return x[0] * x[1] + x[2]; }
}  // namespace avx2
