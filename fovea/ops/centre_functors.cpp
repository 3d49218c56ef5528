#include "fovea/ops/centre_functors.h"

#include <ATen/TensorOperators.h>

#include <limits>
#include <utility>

#include "fovea/ops/operands.h"

namespace fovea {
namespace {

at::Tensor known(const at::Tensor& centres) {
  const at::Tensor given = centres.detach();
  return centres.masked_fill(given != given, std::numeric_limits<double>::infinity());
}

Centres table_of(const at::Tensor& centres, CentreOrder order) {
  const bool kernel = centres.is_cpu();
  return {kernel ? float_table(centres.detach().to(at::kFloat).flatten().contiguous()) : Table<float>{},
          static_cast<int32_t>(centres.size(1) * centres.size(2)), static_cast<int32_t>(centres.size(2)),
          order};
}

at::Tensor distance(const at::Tensor& centres, const TensorAt& at) { return at.k - centres.unsqueeze(3); }

class NearCentres : public AttendFunctors {
 public:
  NearCentres(const at::Tensor& centres, double window, CentreOrder order)
      : centres_(known(centres)), window_(window), table_(table_of(centres_, order)), mask_{{}, near()} {}

  TileProgram program() const override { return tile_program(mask_); }
  at::Tensor allowed(const TensorAt& at) const override {
    return distance(widened(centres_.detach()), at).abs() <= window_;
  }

 protected:
  NearCentre near() const { return NearCentre(table_, static_cast<float>(window_)); }
  const Centres& table() const { return table_; }
  const at::Tensor& centres() const { return centres_; }

 private:
  at::Tensor centres_;
  double window_;
  Centres table_;
  Functors<Identity, NearCentre> mask_;
};

class AroundCentres : public NearCentres {
 public:
  AroundCentres(const at::Tensor& centres, double window, double sigma, CentreOrder order)
      : NearCentres(centres, window, order),
        sigma_(sigma),
        functors_{{table(), static_cast<float>(sigma)}, near()} {}

  TileProgram program() const override { return tile_program(functors_); }
  at::Tensor score(const at::Tensor& scores, const TensorAt& at) const override {
    const at::Tensor away = distance(centres().to(scores.scalar_type()), at) / sigma_;
    return scores - away.square() / 2.0;
  }

  at::Tensor learned() const override { return centres(); }
  at::Tensor make_sums(int64_t chunks, int64_t heads) const override {
    return make_own_sums(centres(), chunks, heads);
  }
  at::Tensor gradient(const at::Tensor& sums) const override { return own_gradient(centres(), sums); }

 private:
  double sigma_;
  Functors<AroundCentre, NearCentre> functors_;
};

}  // namespace

std::shared_ptr<const AttendFunctors> near_centres(const at::Tensor& centres, double window,
                                                   CentreOrder order) {
  return std::make_shared<NearCentres>(centres, window, order);
}

std::shared_ptr<const AttendFunctors> around_centres(const at::Tensor& centres, double window, double sigma,
                                                     CentreOrder order) {
  return std::make_shared<AroundCentres>(centres, window, sigma, order);
}

}  // namespace fovea
