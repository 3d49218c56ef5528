#pragma once

namespace fovea::kernels {

/// FLOP/s of one thread in the tile products that attention is made of, operands in the cache: what a kernel
/// could reach at most. The best of some hundred runs, about 50 ms.
double product_peak_f32();
/// The same in bfloat16; that of float32 where products of bfloat16 do not run.
double product_peak_bf16();

}  // namespace fovea::kernels
