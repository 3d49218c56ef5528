#include "fovea/kernels/cpu/product_peak.h"

#include <algorithm>

#include "fovea/core/isa.h"
#include "fovea/core/stopwatch.h"
#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/tile_product.h"

namespace fovea::kernels {
namespace {

// The shapes of attention's two products at head size 64: 96 queries, 512 keys.
template <class T>
double measured_peak() {
  const TileProductScope release;
  // Aligned as the kernels' operands are: where lines are straddled AMX runs at a quarter to two thirds of
  // its speed.
  const Buffer<T> a(96 * 512), b(512 * 64);
  const Buffer<float> c(96 * 512);
  std::fill_n(a.get(), 96 * 512, T(0.5f));
  std::fill_n(b.get(), 512 * 64, T(0.5f));
  double best = 0.0;
  for (const TileProduct& product :
       {TileProduct{96, 512, 64, 64, 512, 512, false}, TileProduct{96, 64, 512, 512, 64, 64, false}}) {
    constexpr int kRepeats = 20;
    const Timing timing = time_runs(
        [&] {
          for (int i = 0; i < kRepeats; ++i) product(a.get(), b.get(), c.get());
        },
        {.warm_up = 2, .min_runs = 100, .min_seconds = 0.0});
    best = std::max(best, kRepeats * 2.0 * 96 * 512 * 64 / (timing.best_cpu * 1e-3));
  }
  return best;
}

}  // namespace

double product_peak_f32() { return measured_peak<float>(); }
double product_peak_bf16() {
  return has_bf16_products() ? measured_peak<c10::BFloat16>() : product_peak_f32();
}

}  // namespace fovea::kernels
