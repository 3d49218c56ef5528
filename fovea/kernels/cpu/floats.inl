// The compiler's own vectors as those of simd.h; of one instruction set, see each_isa.inl.

INLINE F to_floats(NF x) {
  F result;
  *reinterpret_cast<NF*>(result.x) = x;
  return result;
}
