#include <algorithm>
#include <cstring>

#include "fovea/kernels/cpu/buffer.h"
#include "fovea/kernels/cpu/deformable_points.h"
#include "fovea/kernels/cpu/deformable_rows.h"
#include "fovea/kernels/cpu/pack.h"
#include "fovea/kernels/cpu/parallel.h"
#include "fovea/kernels/deformable_args.h"

namespace fovea::kernels {
namespace {

// Queries of one task: those of a head stand near each other on the maps.
constexpr int64_t kQueryBlock = 256;

int64_t bytes_of(Type type) { return type == Type::f32 ? 4 : 2; }

const char* row_at(const Operand& t, int64_t bytes, int64_t batch, int64_t head, int64_t row) {
  return static_cast<const char*>(t.data) + bytes * (batch * t.batch + head * t.head + row * t.row);
}
char* row_at(const Output& t, int64_t bytes, int64_t batch, int64_t head, int64_t row) {
  return static_cast<char*>(t.data) + bytes * (batch * t.batch + head * t.head + row * t.row);
}

// The values of one head as neighbours. Rows that stand a power of two apart, as heads of a projection do,
// share few sets of a cache: gathered where they are, they would come from the third level.
class HeadValues {
 public:
  HeadValues(const DeformableSizes& n, std::span<const MapLevel> levels, Type type, const Operand& v)
      : n_(n),
        bytes_(bytes_of(type)),
        v_(v),
        packs_(v.row != n.dim && 2 * n.values < n.queries * all_points(n, levels)),
        rows_(packs_ ? n.values * n.dim * bytes_ : 0) {}

  ValueRows load(int64_t batch, int64_t head) {
    if (!packs_) return {row_at(v_, bytes_, batch, head, 0), v_.row, n_.dim};
    if (batch != batch_ || head != head_) {
      for (int64_t j = 0; j < n_.values; ++j) {
        std::memcpy(rows_.get() + j * n_.dim * bytes_, row_at(v_, bytes_, batch, head, j), n_.dim * bytes_);
      }
      batch_ = batch, head_ = head;
    }
    return {rows_.get(), n_.dim, n_.dim};
  }

 private:
  DeformableSizes n_;
  int64_t bytes_;
  Operand v_;
  bool packs_;
  Buffer<char> rows_;
  int64_t batch_ = -1, head_ = -1;
};

// The points of one query of a head after the other. Those of the next are found ahead, while the processor
// waits for the rows of values of this one.
class PointsAhead {
 public:
  template <class Args>
  explicit PointsAhead(const Args& args)
      : kernels_(deformable_kernels(args.type)),
        locations_(args.locations),
        weights_(args.weights),
        points_{Points(args.n, args.levels), Points(args.n, args.levels)} {}

  void start(int64_t batch, int64_t head, int64_t begin, int64_t end) {
    batch_ = batch, head_ = head, next_ = begin, end_ = end;
    find_next();
  }
  const Points& take() {
    const Points& points = points_[(next_ - 1) % 2];
    find_next();
    return points;
  }

 private:
  void find_next() {
    if (next_ < end_) {
      points_[next_ % 2].move(kernels_, row_of<float>(locations_, batch_, head_, next_),
                              row_of<float>(weights_, batch_, head_, next_));
    }
    ++next_;
  }

  DeformableKernels kernels_;
  Operand locations_, weights_;
  Points points_[2];
  int64_t batch_ = 0, head_ = 0, next_ = 0, end_ = 0;
};

// Results of some queries of one head.
class HeadSum {
 public:
  explicit HeadSum(const DeformableForwardArgs& args)
      : args_(args),
        kernels_(deformable_kernels(args.type)),
        points_(args),
        values_(args.n, args.levels, args.type, args.v) {}

  void run(int64_t batch, int64_t head, int64_t begin, int64_t end) {
    sum(batch, head, begin, end, /*all_beyond=*/false);
    // An infinity that stood for a corner beyond the map, times its share of 0, is none of the result.
    if (!finite(batch, head, begin, end)) sum(batch, head, begin, end, /*all_beyond=*/true);
  }

 private:
  void sum(int64_t batch, int64_t head, int64_t begin, int64_t end, bool all_beyond) {
    const ValueRows values = values_.load(batch, head);
    points_.start(batch, head, begin, end);
    for (int64_t i = begin; i < end; ++i) {
      const Points& points = points_.take();
      const auto gather = all_beyond || points.beyond() ? kernels_.gather_beyond : kernels_.gather;
      gather(points.corners(), points.maps().points, values,
             row_at(args_.out, bytes_of(args_.type), batch, head, i));
    }
  }
  bool finite(int64_t batch, int64_t head, int64_t begin, int64_t end) const {
    const auto rows = [&]<class T>(T) {
      return Rows<T>{row_of<T>(args_.out, batch, head, begin), args_.out.row, end - begin, args_.n.dim};
    };
    switch (args_.type) {
      case Type::f32:
        return are_finite(rows(float{}));
      case Type::bf16:
        return are_finite(rows(c10::BFloat16{}));
      case Type::f16:
        return are_finite(rows(c10::Half{}));
    }
    return false;
  }

  const DeformableForwardArgs& args_;
  DeformableKernels kernels_;
  PointsAhead points_;
  HeadValues values_;
};

// Gradients from one head of one batch entry.
class HeadGradient {
 public:
  explicit HeadGradient(const DeformableBackwardArgs& args)
      : args_(args),
        kernels_(deformable_kernels(args.type)),
        points_(args),
        values_(args.n, args.levels, args.type, args.v),
        floats_(all_points(args.n, args.levels), 5),
        grad_locations_(all_points(args.n, args.levels), 2),
        grad_out_(args.n.dim),
        grad_v_(args.n.values * args.n.dim) {}

  void run(int64_t batch, int64_t head) {
    const ValueRows values = values_.load(batch, head);
    std::fill_n(grad_v_.get(), args_.n.values * args_.n.dim, 0.0f);
    points_.start(batch, head, 0, args_.n.queries);
    for (int64_t i = 0; i < args_.n.queries; ++i) add_query(values, batch, head, i);
    for (int64_t j = 0; j < args_.n.values; ++j) {
      kernels_.narrow(grad_v_.get() + j * args_.n.dim, args_.n.dim,
                      row_at(args_.grad_v, bytes_of(args_.type), batch, head, j));
    }
  }

 private:
  void add_query(const ValueRows& values, int64_t batch, int64_t head, int64_t i) {
    const Points& points = points_.take();
    const int64_t count = points.maps().points;
    kernels_.widen(row_at(args_.grad_out, bytes_of(args_.type), batch, head, i), args_.n.dim,
                   grad_out_.get());
    float* const dot[4] = {floats_[1], floats_[2], floats_[3], floats_[4]};
    kernels_.scatter(points.corners(), count, values, grad_out_.get(), grad_v_.get(), dot);
    kernels_.slopes(points.maps(), points.corners(),
                    {points.weights(), {dot[0], dot[1], dot[2], dot[3]}, floats_[0], grad_locations_[0]});
    std::copy_n(floats_[0], count, row_of<float>(args_.grad_weights, batch, head, i));
    std::copy_n(grad_locations_[0], 2 * count, row_of<float>(args_.grad_locations, batch, head, i));
  }

  const DeformableBackwardArgs& args_;
  DeformableKernels kernels_;
  PointsAhead points_;
  HeadValues values_;
  PointArrays<float> floats_, grad_locations_;
  Buffer<float> grad_out_, grad_v_;
};

}  // namespace

void deformable_forward(const DeformableForwardArgs& args) {
  const DeformableSizes& n = args.n;
  const int64_t blocks = (n.queries + kQueryBlock - 1) / kQueryBlock;
  const auto make_worker = [&] { return HeadSum(args); };
  for_each_task(n.batch * n.heads * blocks, make_worker, [&](HeadSum& worker, int64_t task) {
    const int64_t head = task / blocks, begin = task % blocks * kQueryBlock;
    worker.run(head / n.heads, head % n.heads, begin, std::min(begin + kQueryBlock, n.queries));
  });
}

void deformable_backward(const DeformableBackwardArgs& args) {
  const int64_t heads = args.n.heads;
  for_each_task(
      args.n.batch * heads, [&] { return HeadGradient(args); },
      [&](HeadGradient& worker, int64_t task) { worker.run(task / heads, task % heads); });
}

}  // namespace fovea::kernels
