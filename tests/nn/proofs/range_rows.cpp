#include "tests/nn/proofs/range_rows.h"

#include <cmath>
#include <string>

#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {
namespace {

CostLaw over(double exponent, const char* text) {
  return {exponent, [text](int64_t) { return std::string(text); }};
}

at::Tensor linear_of(const Operands& o, const std::string& layer) {
  return at::einsum("bte,he->bht", {o.x, o.parameter(layer + ".weight")}) +
         o.parameter(layer + ".bias").unsqueeze(1);
}

// Of a constant f a head, as ALiBi's slopes of two heads.
void forget_like_alibi(Operands& o) {
  o.parameters.at("f_proj.weight").zero_();
  const at::Tensor slopes = at::tensor({1.0 / 16, 1.0 / 256}, at::kDouble);
  o.parameters.at("f_proj.bias").copy_(-slopes.expm1().log());
}

ProofRow forgetting_row() {
  ProofRow row{
      "forgetting",
      [](const Operands& o) {
        const at::Tensor f = linear_of(o, "f_proj").sigmoid();
        const int64_t n = o.queries();
        // Sums of j < l <= i, pair by pair.
        const at::Tensor l = at::arange(n), between = (o.j().unsqueeze(1) < l) & (l <= o.i().unsqueeze(2));
        const at::Tensor sums = at::einsum("bhl,ijl->bhij", {f.log(), between.to(at::kDouble)});
        return softmax_over(scaled_dots(o) + sums, o.seen & (o.j() <= o.i()), o.v);
      },
      Limit{"forgetting", "softmax:causal=true,alibi=true", 1e-12, forget_like_alibi},
      Reason{"the naive reference of flash-linear-attention is this formula; its kernels need a GPU"},
      over(2.0, "forgetting")};
  row.rows = true;
  return row;
}

}  // namespace

std::vector<ProofRow> range_rows() { return {forgetting_row()}; }

}  // namespace fovea::proofs
