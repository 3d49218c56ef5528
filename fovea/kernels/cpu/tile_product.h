#pragma once
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cstdint>

#include "fovea/core/isa.h"
#include "fovea/kernels/attend_args.h"

namespace fovea::kernels {

/// C (m, n) = A (m, k) B (k, n) + C with row strides lda, ldb, ldc, in float32; bfloat16 operands take B in
/// pairs of rows, (k / 2, n, 2). oneDNN's batch-reduced product through libtorch, which compiles one kernel
/// for each (m, n, k, lda, ldb, ldc) and thread and never frees it: keep the shapes few. m, n, k >= 1. Below
/// AVX2, which oneDNN's products begin with, a plain loop.
struct TileProduct {
  int64_t m, n, k, lda, ldb, ldc;
  bool add = true;  // false: C is not read

  void operator()(const float* a, const float* b, float* c) const;
  void operator()(const c10::BFloat16* a, const c10::BFloat16* b, float* c) const;
};

/// run.operator()<T, C>(): T is the operands' type, C that of the products made of them.
template <class Run>
void with_types(Type type, const Run& run) {
  switch (type) {
    case Type::f32:
      return run.template operator()<float, float>();
    case Type::bf16:
      return has_bf16_products() ? run.template operator()<c10::BFloat16, c10::BFloat16>()
                                 : run.template operator()<c10::BFloat16, float>();
    case Type::f16:
      return run.template operator()<c10::Half, float>();
  }
}

/// Gives the tile registers back when a thread has done its products, exceptions included. Errors as
/// active_isa(): its making fails, as the end of a scope must not.
struct TileProductScope {
  TileProductScope();
  TileProductScope(const TileProductScope&) = delete;
  TileProductScope& operator=(const TileProductScope&) = delete;
  ~TileProductScope();
};

}  // namespace fovea::kernels
