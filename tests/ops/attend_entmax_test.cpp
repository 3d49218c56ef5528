#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <vector>

#include "fovea/ops/attend_normalisers.h"
#include "tests/ops/normaliser_rows.h"
#include "tests/ops/tensors.h"

// Entmax of any alpha, which may learn.

namespace fovea {
namespace {

using test::by_bisection, test::difference, test::random, test::weights_of_rows;

// entmax_bisect of the package, of one alpha for both rows, with its gradient.
TEST(AttendEntmax, AlphasEqualThePackageEntmax) {
  const at::Tensor scores =
      at::tensor({1.2, -0.3, 0.9, 0.85, -2.0, 1.1, 0.2, 0.05, 3.0, 0.5, -1.0, 2.9, 0.0, 1.75, 2.5, -4.0},
                 at::kDouble)
          .view({2, 8});
  const at::Tensor given =
      at::tensor({0.5, -1.0, 0.25, 2.0, -0.75, 1.5, -0.5, 1.0, 1.0, -2.0, 0.5, 0.125, 3.0, -0.25, 0.75, -1.5},
                 at::kDouble)
          .view({2, 8});
  struct Alpha {
    double alpha, by_alpha;
    std::vector<double> weights, gradients;
  };
  const std::vector<Alpha> goldens = {
      {1.3,
       0.6537792289886745,
       {0.2978175146484107, 0.00924229480876367, 0.18762242621437836, 0.17256777308715726, 0,
        0.25710063265365646, 0.04534172116644143, 0.030307637421192305, 0.4061645413489287,
        5.368916212794304e-07, 0, 0.3553409033145296, 0, 0.04265826412470508, 0.19583575432021536, 0},
       {-0.1602350385881295, -0.07060566607762121, -0.1934444495964025, 0.32913197173214015, 0,
        0.24186576145457606, -0.15760434913529014, 0.010891770210727236, 0.23605268005564178,
        -0.00010436678085155297, 0, -0.20912592176092146, 0, -0.08863259192058023, 0.06181020040671162, 0}},
      {1.7,
       -0.12917849345300472,
       {0.3762187843613298, 0, 0.17434966419983938, 0.1455146166401041, 0, 0.30391693479872667, 0, 0,
        0.4729926145598062, 0, 0, 0.3951807994227022, 0, 0, 0.13182658601749153, 0},
       {-0.3997881864645726, 0, -0.46544824950899444, 0.5406679880569151, 0, 0.3245684479166523, 0, 0,
        0.30367978737771306, 0, 0, -0.37454913957484215, 0, 0, 0.0708693521971292, 0}}};
  for (const auto& golden : goldens) {
    const at::Tensor z = scores.clone().requires_grad_(),
                     alpha = at::tensor({golden.alpha}, at::kDouble).requires_grad_(),
                     weights = weights_of_rows(Entmax{alpha}, z);
    const auto gradients = torch::autograd::grad({weights}, {z, alpha}, {given});
    const auto rows = [](const std::vector<double>& numbers) {
      return at::tensor(numbers, at::kDouble).view({2, 8});
    };
    EXPECT_LT(difference(weights, rows(golden.weights)), 1e-14);
    EXPECT_LT(difference(gradients[0], rows(golden.gradients)), 1e-13);
    EXPECT_NEAR(gradients[1].item<double>(), golden.by_alpha, 1e-12);
  }
}

// Towards 1 softmax, and the nearer the less it differs; at 1.5 and 2 the closed forms.
TEST(AttendEntmax, AlphaLeadsFromSoftmaxToSparsemax) {
  at::manual_seed(66);
  const at::Tensor z = random({20, 33}), soft = weights_of_rows(Softmax{}, z);
  const double far = difference(weights_of_rows(Entmax{1.01}, z), soft),
               near = difference(weights_of_rows(Entmax{1.001}, z), soft);
  EXPECT_LT(near, 2e-3);
  EXPECT_NEAR(far / near, 10.0, 1.0);
  const auto of_tensor = [&](double alpha) {
    return weights_of_rows(Entmax{at::full({1}, alpha, at::kDouble)}, z);
  };
  EXPECT_LT(difference(of_tensor(1.5), weights_of_rows(Entmax{}, z)), 1e-14);
  EXPECT_LT(difference(of_tensor(2.0), weights_of_rows(Sparsemax{}, z)), 1e-14);
  EXPECT_LT(difference(of_tensor(1.0), soft), 1e-3);
  for (const double alpha : {1.05, 1.2, 1.4, 1.6, 1.9}) {
    for (const double gain : {0.01, 1.0, 30.0}) {
      const at::Tensor exact = by_bisection(z * gain * (alpha - 1), 1 / (alpha - 1));
      EXPECT_LT(difference(weights_of_rows(Entmax{alpha}, z * gain), exact), 1e-12) << alpha << ' ' << gain;
    }
  }
}

}  // namespace
}  // namespace fovea
