#include "tests/nn/proofs/memory_rows.h"

#include <vector>

#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {
namespace {

// What a hop reads of scores 0.5 u . m.
at::Tensor hop_of(const Operands& o, const at::Tensor& u, const at::Tensor& m, const at::Tensor& c) {
  Operands own = o;
  own.q = u, own.k = m;
  return softmax_over(0.5 * dots(own), o.seen, c);
}

// 0 for those that see nothing.
at::Tensor of_seeing(const Operands& o, const at::Tensor& u) {
  return at::where(o.seen.any(-1, true), u, 0.0);
}

at::Tensor adjacent(const Operands& o) {
  const auto embedded = [&](int64_t k) {
    return at::einsum("hde,bhme->bhmd", {o.parameter("C").select(1, k), o.v});
  };
  const at::Tensor c2 = embedded(0), c3 = embedded(1);
  at::Tensor u = o.q + hop_of(o, o.q, o.k, o.v);
  u = u + hop_of(o, u, o.v, c2);
  u = u + hop_of(o, u, c2, c3);
  return of_seeing(o, u);
}

at::Tensor layer_wise(const Operands& o) {
  at::Tensor u = o.q;
  for (int hop = 0; hop < 3; ++hop) {
    u = at::einsum("hde,bhne->bhnd", {o.parameter("H"), u}) + hop_of(o, u, o.k, o.v);
  }
  return of_seeing(o, u);
}

// Keys and values with the rows of their ages, of which 20 are seen.
Operands aged(const Operands& o) {
  const at::Tensor age = o.lengths.unsqueeze(1) - 1 - o.j(), known = age.clamp(0, 19);
  const auto with_rows = [&](const at::Tensor& t, const char* table) {
    std::vector<at::Tensor> rows;
    for (int64_t b = 0; b < known.size(0); ++b) rows.push_back(o.parameter(table).index_select(1, known[b]));
    return t + at::stack(rows);
  };
  Operands own = o;
  own.k = with_rows(o.k, "T_A"), own.v = with_rows(o.v, "T_C");
  own.seen = o.seen & (age < 20).view({-1, 1, 1, o.keys()});
  return own;
}

const Reason kNoMemoryPackage{"others have the network alone: memory_test, MemoryNetwork.EqualsMemN2N"};

ProofRow adjacent_row() {
  return {"memory:scale=0.5", adjacent,
          Limit{"memory:hops=1,tying=layer_wise", "memory:hops=1", 1e-12,
                [](Operands& o) { o.parameters.at("H").copy_(at::eye(4, at::kDouble)); }},
          kNoMemoryPackage, CostLaw{2.0, always("memory:hops=2")}};
}

ProofRow layer_wise_row() {
  return {"memory:scale=0.5,tying=layer_wise", layer_wise,
          Limit{"memory:hops=1,tying=layer_wise", "dot", 1e-12, with_zero("H")}, kNoMemoryPackage,
          CostLaw{2.0, always("memory:hops=2,tying=layer_wise"), /*timed=*/false}};
}

ProofRow temporal_row() {
  return {"memory:scale=0.5,size=20,temporal=true", [](const Operands& o) { return adjacent(aged(o)); },
          Limit{"memory:hops=1,tying=layer_wise,size=33,temporal=true", "dot", 1e-12,
                [](Operands& o) {
                  for (auto& [name, parameter] : o.parameters) parameter.zero_();
                }},
          kNoMemoryPackage, CostLaw{1.0, always("memory:size=64,temporal=true")}};
}

}  // namespace

std::vector<ProofRow> memory_rows() { return {adjacent_row(), layer_wise_row(), temporal_row()}; }

}  // namespace fovea::proofs
