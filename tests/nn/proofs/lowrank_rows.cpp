#include "tests/nn/proofs/lowrank_rows.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "fovea/nn/attention/lsh.h"
#include "fovea/nn/attention/registry.h"
#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {
namespace {

// Means of segments of the first `length` rows, (L, N): the last `length` modulo L have a row more.
at::Tensor segments_of(int64_t length, int64_t landmarks, int64_t positions) {
  const int64_t count = std::min(landmarks, length);
  at::Tensor means = at::zeros({count, positions}, at::kDouble);
  for (int64_t s = 0, begin = 0; s < count; ++s) {
    const int64_t size = length / count + (s >= count - length % count ? 1 : 0);
    means[s].narrow(0, begin, size).fill_(1.0 / static_cast<double>(size));
    begin += size;
  }
  return means;
}

// Equation 11, from the transpose over both norms.
at::Tensor iterated_inverse(const at::Tensor& a, int steps) {
  const at::Tensor one = at::eye(a.size(-1), at::kDouble);
  at::Tensor z = a.transpose(1, 2) / (a.abs().sum(1).amax(-1) * a.abs().sum(2).amax(-1)).view({-1, 1, 1});
  for (int step = 0; step < steps; ++step) {
    const at::Tensor az = a.bmm(z);
    z = z.bmm(13 * one - az.bmm(15 * one - az.bmm(7 * one - az))) / 4;
  }
  return z;
}

// Each batch entry as if it had no padding.
at::Tensor nystrom(const Operands& o, int64_t landmarks, int steps) {
  std::vector<at::Tensor> entries;
  for (int64_t b = 0; b < o.q.size(0); ++b) {
    const at::Tensor means = segments_of(o.lengths[b].item<int64_t>(), landmarks, o.keys());
    const at::Tensor q = o.q[b], k = o.k[b], landmark_q = at::matmul(means, q),
                     landmark_k = at::matmul(means, k);
    const auto softmax = [&](const at::Tensor& left, const at::Tensor& right, const at::Tensor& seen) {
      const at::Tensor scores =
          at::matmul(left, right.transpose(1, 2)) / std::sqrt(static_cast<double>(q.size(2)));
      return scores.masked_fill(seen.logical_not(), -std::numeric_limits<double>::infinity()).softmax(-1);
    };
    const at::Tensor all = at::ones({1}, at::kBool);
    const at::Tensor to_landmarks = softmax(q, landmark_k, all),
                     between = softmax(landmark_q, landmark_k, all),
                     to_keys = softmax(landmark_q, k, o.j() < o.lengths[b]);
    entries.push_back(to_landmarks.matmul(iterated_inverse(between, steps)).matmul(to_keys.matmul(o.v[b])));
  }
  return at::stack(entries);
}

// With so many landmarks, or one for each of fewer positions.
std::function<std::string(int64_t)> with_landmarks(int64_t most, const std::string& others) {
  return [most, others](int64_t n) {
    return "nystrom:landmarks=" + std::to_string(std::clamp<int64_t>(n, 1, most)) + others;
  };
}

ProofRow nystrom_row() {
  ProofRow row{"nystrom:landmarks=4", [](const Operands& o) { return nystrom(o, 4, 6); },
               Limit{"nystrom:landmarks=33,exact=true", "softmax", 1e-10},
               Peer{"lowrank_peers_test: LowRankPeers.NystromOfTransformers"},
               CostLaw{1.0, always("nystrom:landmarks=32,iterations=2")}};
  row.by_length = with_landmarks(4, "");
  return row;
}

// Position i gets sum_t weight[t] v_(i + t - 2).
ProofRow nystrom_convolved_row() {
  ProofRow row = nystrom_row();
  row.text = "nystrom:landmarks=3,iterations=2,conv_kernel_size=5";
  row.by_length = with_landmarks(3, ",iterations=2,conv_kernel_size=5");
  row.formula = [](const Operands& o) {
    const at::Tensor real = (o.j() < o.lengths.unsqueeze(1)).view({-1, 1, o.keys(), 1});
    const at::Tensor values = at::constant_pad_nd(o.v * real, {0, 0, 2, 2});
    at::Tensor out = nystrom(o, 3, 2);
    for (int64_t t = 0; t < 5; ++t) {
      out = out + o.parameter("conv.weight").select(2, t).view({1, -1, 1, 1}) * values.narrow(2, t, o.keys());
    }
    return out;
  };
  row.limit =
      Limit{"nystrom:landmarks=33,exact=true,conv_kernel_size=3", "softmax", 1e-10, with_zero("conv.weight")};
  row.cost = CostLaw{1.0, always("nystrom:landmarks=32,iterations=2,conv_kernel_size=3")};
  return row;
}

// E^T of what is real.
at::Tensor linformer(const Operands& o, const at::Tensor& E, const at::Tensor& F) {
  const at::Tensor real = (o.j() < o.lengths.unsqueeze(1)).view({-1, 1, o.keys(), 1});
  const auto rows = [&](const at::Tensor& matrix, const at::Tensor& t) {
    return ((t * real).unsqueeze(3) * matrix.narrow(-2, 0, o.keys()).unsqueeze(-1)).sum(2);
  };
  Operands own = o;
  own.k = rows(E, o.k), own.v = rows(F, o.v);
  return softmax_over(scaled_dots(own), at::ones({1}, at::kBool), own.v);
}

ProofRow linformer_row() {
  ProofRow row{"linformer:length=300,rank=5",
               [](const Operands& o) { return linformer(o, o.parameter("E"), o.parameter("F")); },
               Limit{"linformer:length=33,rank=33", "softmax", 1e-12,
                     [](Operands& o) {
                       for (auto& [name, matrix] : o.parameters) matrix.copy_(at::eye(33, at::kDouble));
                     }},
               Peer{"lowrank_peers_test: LowRankPeers.LinformerOfItsPackage"},
               CostLaw{1.0, [](int64_t n) { return "linformer:rank=32,length=" + std::to_string(n); }}};
  row.memory_exponent = 0.0;
  return row;
}

ProofRow linformer_shared_row() {
  ProofRow row = linformer_row();
  row.text = "linformer:length=300,rank=5,sharing=key_value";
  row.formula = [](const Operands& o) { return linformer(o, o.parameter("E"), o.parameter("E")); };
  std::get<Limit>(row.limit).text = "linformer:length=33,rank=33,sharing=key_value";
  return row;
}

// A matrix for each head, as there are heads of keys.
ProofRow linformer_per_head_row() {
  ProofRow row = linformer_row();
  row.text = "linformer:length=300,rank=5,sharing=none";
  std::get<Limit>(row.limit).text = "linformer:length=33,rank=33,sharing=none";
  row.formula = [](const Operands& o) {
    const auto of_heads = [&](const char* name) {
      const at::Tensor matrix = o.parameter(name);
      return matrix.repeat_interleave(o.q.size(1) / matrix.size(0), 0);
    };
    return linformer(o, of_heads("E"), of_heads("F"));
  };
  return row;
}

struct Hashing {
  int64_t buckets, rounds, chunk;
  bool across;

  std::string text() const {
    return "lsh:buckets=" + std::to_string(buckets) + ",rounds=" + std::to_string(rounds) +
           ",chunk=" + std::to_string(chunk) + (across ? ",attend_across_buckets=true" : "");
  }
};

// (B, H, N, N) of one round: who shares a bucket with whom, in its chunk of the sorted ones or the one
// before.
at::Tensor shares_bucket(const Operands& o, const Hashing& h, const at::Tensor& rotation) {
  const int64_t n = o.keys();
  const at::Tensor turned = at::einsum("bhnd,hdc->bhnc", {o.q.detach(), rotation});
  const at::Tensor bucket =
      at::where(o.j() < o.lengths.view({-1, 1, 1}), at::cat({turned, -turned}, -1).argmax(-1),
                at::full({1}, h.buckets, at::kLong));
  const at::Tensor place = (bucket * n + o.j()).argsort(int64_t{-1}).argsort(int64_t{-1}),
                   chunk = place.floor_divide(h.chunk);
  const int64_t chunks = (n + h.chunk - 1) / h.chunk;
  const at::Tensor of_query = chunk.unsqueeze(3), of_key = chunk.unsqueeze(2);
  const at::Tensor near = (of_key == of_query) | (of_key == (of_query + (chunks - 1)).remainder(chunks));
  return h.across ? near : near & (bucket.unsqueeze(3) == bucket.unsqueeze(2));
}

// The same rotations, rounds merged as one softmax in which each pair counts as often as it was found.
at::Tensor hashed(const Operands& o, const Hashing& h) {
  const auto attention =
      nn::parse_attention(h.text()).build({o.q.size(1), o.q.size(1), o.q.size(3), o.v.size(3)});
  const at::Tensor rotations = dynamic_cast<nn::LshAttention&>(*attention).rotations.to(at::kDouble);
  Operands own = o;
  own.k = o.q / o.q.norm(2, -1, true);
  const at::Tensor exponentials = dots(own).exp(), others = o.seen & (o.i() != o.j());
  at::Tensor sum = at::zeros_like(o.q.select(3, 0)), out = at::zeros_like(o.v);
  for (int64_t r = 0; r < h.rounds; ++r) {
    const at::Tensor seen =
        o.keys() <= h.chunk ? others : others & shares_bucket(o, h, rotations.select(2, r));
    sum = sum + (exponentials * seen).sum(-1);
    out = out + weighted(exponentials * seen, o.v);
  }
  const at::Tensor alone = (sum == 0).unsqueeze(3),
                   real = (o.j() < o.lengths.unsqueeze(1)).view({-1, 1, o.keys(), 1});
  return at::where(alone, o.v * real,
                   out / at::where(alone, at::ones_like(alone, at::kDouble), sum.unsqueeze(3)));
}

ProofRow lsh_row(const Hashing& h, const char* peer) {
  return {h.text(), [h](const Operands& o) { return hashed(o, h); },
          Limit{"lsh:chunk=17,rounds=3,attend_across_buckets=true", "lsh:chunk=33"}, Peer{peer},
          CostLaw{1.0, always("lsh:buckets=16,rounds=2,chunk=32")}};
}

}  // namespace

std::vector<ProofRow> low_rank_rows() {
  return {lsh_row({4, 2, 16, false}, "lowrank_peers_test: LowRankPeers.ReformerPytorch"),
          lsh_row({2, 3, 20, true}, "lowrank_peers_test: LowRankPeers.ReformerOfTransformers"),
          nystrom_row(),
          nystrom_convolved_row(),
          linformer_row(),
          linformer_shared_row(),
          linformer_per_head_row()};
}

}  // namespace fovea::proofs
