#pragma once
#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/proofs/places.h"
#include "tests/nn/proofs/proof.h"

// A row's mechanism and its formula, side by side on the same operands.

namespace fovea::proofs {

inline constexpr int64_t kBatch = 2, kHeads = 2, kSize = 4, kWidth = 6;

/// One call, as a mechanism and as its formula are given it.
struct Call {
  int64_t queries, keys, kv_heads = kHeads;
  bool causal = false, lengths = false, strided = false;
  at::ScalarType type = at::kDouble;

  std::string text() const {
    return std::to_string(queries) + " x " + std::to_string(keys) + (kv_heads < kHeads ? " grouped" : "") +
           (causal ? " causal" : "") + (lengths ? " lengths" : "") + (strided ? " strided" : "") + ' ' +
           at::toString(type);
  }
};

using Tensors = std::vector<at::Tensor>;

/// A mechanism between operands that learn.
class Bench {
 public:
  Bench(const ProofRow& row, const std::string& text, const Call& call) : row_(row), call_(call) {
    const auto options = at::TensorOptions().dtype(at::kDouble);
    const auto draw = [&](int64_t heads, int64_t length) {
      // Numbers of float32, which both computations get.
      const at::Tensor t = at::randn({kBatch, heads, length, kSize}).to(options);
      return call.strided ? t.transpose(1, 2).contiguous().transpose(1, 2) : t;
    };
    operands.q = draw(kHeads, call.queries);
    operands.k = draw(call.kv_heads, call.keys), operands.v = draw(call.kv_heads, call.keys);
    if (row.rows) operands.x = at::randn({kBatch, call.queries, kWidth}).to(options);
    operands.lengths = at::full({kBatch}, call.keys);
    if (call.lengths) operands.lengths[1] = std::max<int64_t>(call.keys / 2, 1);
    if (row.grid) operands.grid = grid_of(call.queries);
    attention = nn::parse_attention(text).build(
        {kHeads, call.kv_heads, kSize, kSize, row.rows ? kWidth : 0, places_of(row, call.queries)});
    attention->eval();  // what training draws has tests of its own
    for (const auto& item : attention->named_parameters()) {
      const torch::NoGradGuard no_grad;
      item.value().add_(at::randn_like(item.value()) * 0.3);
    }
    attention->to(call.type);
    for (const auto& item : attention->named_parameters()) {
      operands.parameters[item.key()] = item.value().detach().to(at::kDouble, false, /*copy=*/true);
    }
    for (const auto& item : attention->named_buffers()) {
      operands.parameters[item.key()] = item.value().to(at::kDouble, false, /*copy=*/true);
    }
  }

  /// The mechanism's result, then its gradients by q, k, v, x and parameters.
  Tensors run() {
    give_parameters();
    nn::AttentionInput input;
    Tensors leaves;
    const auto leaf = [&](const at::Tensor& t) {
      if (!t.defined()) return at::Tensor();
      leaves.push_back(t.detach().to(call_.type).requires_grad_());
      return leaves.back();
    };
    input.q = leaf(operands.q), input.k = leaf(operands.k), input.v = leaf(operands.v);
    input.x = leaf(operands.x);
    input.grid = places_of(row_, call_.queries);
    for (const auto& p : attention->parameters()) leaves.push_back(p);
    if (call_.causal) input.call.causal = CausalAlignment::top_left;
    if (call_.lengths) input.call.key_lengths = operands.lengths;
    return with_gradients(attention->forward(input).out, leaves);
  }

  /// The same of the formula.
  Tensors define() const {
    Operands own = operands;
    Tensors leaves;
    for (at::Tensor* t : {&own.q, &own.k, &own.v, &own.x}) {
      if (!t->defined()) continue;
      leaves.push_back(t->detach().requires_grad_());
      *t = leaves.back();
    }
    for (const auto& item : attention->named_parameters()) {
      at::Tensor& p = own.parameters.at(item.key());
      p = p.detach().requires_grad_();
      leaves.push_back(p);
    }
    own.k = own.k.repeat_interleave(kHeads / call_.kv_heads, 1);
    own.v = own.v.repeat_interleave(kHeads / call_.kv_heads, 1);
    own.seen = own.j() < operands.lengths.view({kBatch, 1, 1, 1});
    if (call_.causal) own.seen = own.seen & (own.j() <= own.i());
    own.seen = own.seen.expand({kBatch, 1, call_.queries, call_.keys});
    return with_gradients(row_.formula(own), leaves);
  }

  Operands operands;
  std::shared_ptr<nn::Attention> attention;

 private:
  void give_parameters() {
    const torch::NoGradGuard no_grad;
    for (const auto& item : attention->named_parameters()) item.value().copy_(operands.parameter(item.key()));
  }

  // By a sum with weights that are the same for every run.
  static Tensors with_gradients(const at::Tensor& out, const Tensors& leaves) {
    const at::Tensor seen =
        at::arange(out.numel(), at::kDouble).add(1).mul(0.7).cos().view_as(out).to(out.scalar_type());
    Tensors results = {out.detach()};
    const auto gradients = torch::autograd::grad({(out * seen).sum()}, leaves, {}, std::nullopt, false,
                                                 /*allow_unused=*/true);
    for (size_t i = 0; i < leaves.size(); ++i) {
      results.push_back(gradients[i].defined() ? gradients[i] : at::zeros_like(leaves[i]));
    }
    return results;
  }

  const ProofRow& row_;
  Call call_;
};

}  // namespace fovea::proofs
