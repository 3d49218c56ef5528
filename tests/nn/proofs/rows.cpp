#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/bigbird.h"
#include "tests/nn/proofs/formulas.h"
#include "tests/nn/proofs/kernel_map_rows.h"
#include "tests/nn/proofs/lowrank_rows.h"
#include "tests/nn/proofs/memory_rows.h"
#include "tests/nn/proofs/plane_rows.h"
#include "tests/nn/proofs/range_rows.h"

namespace fovea::proofs {
namespace {

const Reason kNoPeer{"PyTorch, torchvision and timm have none; others are not installed beside the tests"};
const Peer kTorch{"hosts_test: MultiHeadAttention.EqualsTorch"};

CostLaw quadratic(const char* text) { return {2.0, always(text)}; }

std::function<void(Operands&)> unit_rows() {
  return [](Operands& o) {
    o.q = o.q / o.q.norm(2, -1, true);
    o.k = o.k / o.k.norm(2, -1, true);
  };
}

at::Tensor near(const Operands& o, int64_t width) { return o.seen & ((o.i() - o.j()).abs() <= width); }

ProofRow softmax_row() {
  return {"softmax", [](const Operands& o) { return softmax_over(scaled_dots(o), o.seen, o.v); },
          Limit{"softmax:window=1000", "softmax"}, kTorch, quadratic("softmax")};
}

ProofRow dot_row() {
  return {"dot", [](const Operands& o) { return softmax_over(dots(o), o.seen, o.v); },
          Limit{"dot:scale=0.5", "softmax", 1e-12}, kTorch, quadratic("dot")};
}

ProofRow cosine_row() {
  return {"cosine",
          [](const Operands& o) {
            const at::Tensor norms = o.q.norm(2, -1).unsqueeze(3) * o.k.norm(2, -1).unsqueeze(2);
            return softmax_over(o.parameter("logit_scale").exp().clamp_max(100.0) * dots(o) / norms, o.seen,
                                o.v);
          },
          Limit{"cosine:scale=7,learned=false", "softmax:scale=7", 1e-12, unit_rows()},
          Peer{"attend_grid_test: AttendGrid.IsTorchvisionsSwin"}, quadratic("cosine")};
}

ProofRow additive_row() {
  return {"additive",
          [](const Operands& o) {
            const at::Tensor hidden = (o.q.unsqueeze(3) + o.k.unsqueeze(2)).tanh();
            return softmax_over((hidden * o.parameter("w").view({1, -1, 1, 1, o.q.size(3)})).sum(-1), o.seen,
                                o.v);
          },
          Limit{"additive", "softmax:scale=0", 1e-12, with_zero("w")},
          kNoPeer,
          quadratic("additive"),
          /*rows=*/false,
          /*equal_heads=*/true};
}

ProofRow bilinear_row() {
  return {"bilinear",
          [](const Operands& o) {
            const at::Tensor pairs = o.q.unsqueeze(4) * o.parameter("W").unsqueeze(1);  // (B, H, N, D, D)
            return softmax_over((pairs.sum(3).unsqueeze(3) * o.k.unsqueeze(2)).sum(-1), o.seen, o.v);
          },
          Limit{"bilinear", "softmax:scale=0", 1e-12, with_zero("W")}, kNoPeer, quadratic("bilinear")};
}

ProofRow low_rank_row() {
  return {"bilinear:rank=2",
          [](const Operands& o) {
            const at::Tensor q = at::einsum("bhnd,hdr->bhnr", {o.q, o.parameter("U")}),
                             k = at::einsum("bhmd,hdr->bhmr", {o.k, o.parameter("V")});
            return softmax_over((q.unsqueeze(3) * k.unsqueeze(2)).sum(-1), o.seen, o.v);
          },
          Limit{"bilinear:rank=4", "dot", 1e-12,
                [](Operands& o) {
                  const at::Tensor same = at::eye(4, at::kDouble);
                  o.parameters.at("U").copy_(same);
                  o.parameters.at("V").copy_(same);
                }},
          kNoPeer, quadratic("bilinear:rank=2")};
}

ProofRow gaussian_row() {
  return {"gaussian",
          [](const Operands& o) {
            const at::Tensor width = o.parameter("log_width").exp().view({1, -1, 1, 1});
            return softmax_over(squared_distances(o) / (-2 * width * width), o.seen, o.v);
          },
          Limit{"gaussian:width=0.5,learned=false", "softmax:scale=4", 1e-12, unit_rows()}, kNoPeer,
          quadratic("gaussian")};
}

ProofRow sink_row() {
  return {
      "softmax_sink",
      [](const Operands& o) {
        const at::Tensor sink = o.parameter("sinks").exp().view({1, -1, 1});
        return weighted(exponential_weights(scaled_dots(o), o.seen, sink), o.v);
      },
      Limit{"softmax_sink", "softmax", 1e-12,
            [](Operands& o) { o.parameters.at("sinks").fill_(-std::numeric_limits<double>::infinity()); }},
      kNoPeer, quadratic("softmax_sink")};
}

ProofRow sigmoid_row() {
  return {"sigmoid",
          [](const Operands& o) {
            const auto keys = static_cast<double>(o.keys());
            return weighted((scaled_dots(o) - std::log(keys)).sigmoid() * o.seen, o.v);
          },
          Reason{"each weight stands by itself: it is softmax in no limit of its options"}, kNoPeer,
          quadratic("sigmoid")};
}

// Of rows that are not sorted whole, which long ones cost less.
CostLaw quadratic_of_long_rows(const char* text) { return {2.0, always(text), true, kSortedWhole + 128}; }

ProofRow sparsemax_row() {
  ProofRow row{"sparsemax",
               [](const Operands& o) { return weighted(thresholded(scaled_dots(o), o.seen, 1), o.v); },
               Limit{"sparsemax:scale=0", "softmax:scale=0"},
               Peer{"attend_normalisers_test: AttendNormalisers.EqualThePackageEntmax"},
               quadratic_of_long_rows("sparsemax")};
  row.memory_exponent = 2.0;
  return row;
}

ProofRow entmax_row() {
  ProofRow row = sparsemax_row();
  row.text = "entmax";
  row.formula = [](const Operands& o) { return weighted(thresholded(scaled_dots(o), o.seen, 2), o.v); };
  row.limit = Limit{"entmax:scale=0", "softmax:scale=0"};
  row.cost = quadratic_of_long_rows("entmax");
  return row;
}

ProofRow local_row() {
  return {"local:window=3", [](const Operands& o) { return softmax_over(scaled_dots(o), near(o, 3), o.v); },
          Limit{"local:window=1000", "softmax"}, Reason{"torch has it as a mask only, which the formula is"},
          CostLaw{1.0, always("local:window=64")}};
}

ProofRow local_p_row() {
  ProofRow row{"local_p:window=6",
               [](const Operands& o) {
                 const at::Tensor hidden = at::einsum("bhnd,hed->bhne", {o.q, o.parameter("W_p")}).tanh();
                 const at::Tensor place = (hidden * o.parameter("v_p").unsqueeze(1)).sum(-1).sigmoid();
                 const at::Tensor away = o.j() - (o.lengths.view({-1, 1, 1}) * place).unsqueeze(3);
                 const at::Tensor weights = exponential_weights(scaled_dots(o), o.seen & (away.abs() <= 6));
                 return weighted(weights * (away.square() / (-2 * 3.0 * 3.0)).exp(), o.v);
               },
               Limit{"local_p:window=100000000", "softmax"}, kNoPeer,
               CostLaw{1.0, always("local_p:window=64")}};
  return row;
}

at::Tensor longformer_allowed(const Operands& o, int64_t width, int64_t global, int64_t dilation) {
  const at::Tensor close = ((o.i() - o.j()).abs() <= width) & ((o.i() - o.j()).remainder(dilation) == 0);
  return o.seen & (close | (o.i() < global) | (o.j() < global));
}

ProofRow longformer_row() {
  return {"longformer:window=4,global=2,dilation=2",
          [](const Operands& o) { return softmax_over(scaled_dots(o), longformer_allowed(o, 4, 2, 2), o.v); },
          Limit{"longformer:window=0,global=1000", "softmax"},
          Peer{"sparse_peers_test: SparsePeers.LongformerOfTransformers"},
          CostLaw{1.0, always("longformer:window=64,global=1")}};
}

// Rows before `global` have queries, keys and values of their own.
ProofRow longformer_projected_row() {
  ProofRow row = longformer_row();
  row.text = "longformer:window=3,global=2,global_projections=true";
  row.rows = row.equal_heads = true;
  row.formula = [](const Operands& o) {
    const auto project = [&](const std::string& name) {
      const at::Tensor rows =
          at::einsum("bte,fe->btf", {o.x, o.parameter(name + ".weight")}) + o.parameter(name + ".bias");
      return rows.unflatten(2, {o.q.size(1), o.q.size(3)}).transpose(1, 2);
    };
    Operands own = o;
    own.q = project("query_global"), own.k = project("key_global"), own.v = project("value_global");
    const at::Tensor all = softmax_over(scaled_dots(own), o.seen, own.v),
                     rest = softmax_over(scaled_dots(o), longformer_allowed(o, 3, 2, 1), o.v);
    return at::where((at::arange(o.queries()) < 2).view({1, 1, -1, 1}), all, rest);
  };
  row.limit = Limit{"longformer:window=5,global=0,global_projections=true", "local:window=5"};
  return row;
}

// The power of two below the root, which divides lengths of powers of two.
CostLaw by_root(const std::string& name) {
  return {1.5, [name](int64_t n) {
            const double half = std::floor(std::log2(static_cast<double>(n)) / 2.0);
            return name + ":stride=" + std::to_string(static_cast<int64_t>(std::exp2(half)));
          }};
}

ProofRow strided_row() {
  return {"sparse_strided:stride=4",
          [](const Operands& o) {
            const at::Tensor before = o.i() - o.j();
            return softmax_over(scaled_dots(o),
                                o.seen & (before >= 0) & ((before <= 4) | (before.remainder(4) == 0)), o.v);
          },
          Limit{"sparse_strided:stride=1", "softmax:causal=true"}, kNoPeer, by_root("sparse_strided")};
}

ProofRow fixed_row() {
  return {"sparse_fixed:stride=5,summary=2",
          [](const Operands& o) {
            const at::Tensor own = o.i().floor_divide(5) == o.j().floor_divide(5),
                             summary = o.j().remainder(5) >= 3;
            return softmax_over(scaled_dots(o), o.seen & (o.j() <= o.i()) & (own | summary), o.v);
          },
          Limit{"sparse_fixed:stride=5,summary=5", "softmax:causal=true"}, kNoPeer,
          CostLaw{1.5, [](int64_t n) { return by_root("sparse_fixed").text(n) + ",summary=1"; }}};
}

// Blocks of 4, of which the first and the last are global.
ProofRow bigbird_row() {
  return {"bigbird:block_size=4,random=0",
          [](const Operands& o) {
            const at::Tensor a = o.i().floor_divide(4), b = o.j().floor_divide(4);
            const int64_t last = (o.keys() - 1) / 4;
            const at::Tensor seen = ((a - b).abs() <= 1) | (a == 0) | (b == 0) | (a == last) | (b == last);
            return softmax_over(scaled_dots(o), o.seen & seen, o.v);
          },
          Limit{"bigbird:block_size=4,random=1000", "softmax"},
          Peer{"sparse_peers_test: SparsePeers.BigBirdOfTransformers"},
          CostLaw{1.0, always("bigbird:block_size=32,random=1")}};
}

// The same choice of blocks, as a dense mask.
ProofRow bigbird_random_row() {
  ProofRow row = bigbird_row();
  row.text = "bigbird:block_size=4,random=2,seed=5";
  row.formula = [](const Operands& o) {
    BigBird pattern;
    pattern.size = 4, pattern.random = 2, pattern.seed = 5;
    const at::Tensor blocks = bigbird_blocks(o.keys(), o.q.size(1), pattern).mask;
    const at::Tensor seen = blocks.index({at::indexing::Slice(), at::indexing::Slice(), o.i().floor_divide(4),
                                          o.j().floor_divide(4).unsqueeze(0)});
    return softmax_over(scaled_dots(o), o.seen & seen, o.v);
  };
  return row;
}

// Means over blocks of the rows that count, (B, T), and 0 where none does: (B, H, blocks, D).
at::Tensor block_means(const at::Tensor& rows, const at::Tensor& counted, int64_t size) {
  const int64_t length = rows.size(2), blocks = (length + size - 1) / size;
  const at::Tensor inside = at::arange(length).floor_divide(size) == at::arange(blocks).unsqueeze(1);
  const at::Tensor parts = (inside & counted.view({-1, 1, 1, length})).to(at::kDouble);
  return ((parts / parts.sum(-1, true).clamp_min(1)).unsqueeze(4) * rows.unsqueeze(2)).sum(3);
}

struct Choice {
  int64_t block, query_block, chosen;

  std::string text() const {
    return "hybrid:block_size=" + std::to_string(block) + ",query_block=" + std::to_string(query_block) +
           ",chosen=" + std::to_string(chosen);
  }
};

// The blocks that queries from `begin` on choose, by their scores with all that have keys.
std::vector<int64_t> best_blocks(const Choice& c, std::span<const double> scores, int64_t begin,
                                 bool causal) {
  std::vector<int64_t> own, others;
  for (int64_t b = 0; b < std::ssize(scores); ++b) {
    const int64_t first_key = b * c.block, last_query = begin + c.query_block - 1;
    if (causal && first_key > last_query) continue;
    (causal && first_key + c.block > begin ? own : others).push_back(b);
  }
  std::stable_sort(others.begin(), others.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });
  for (const int64_t b : others) {
    if (std::ssize(own) < c.chosen) own.push_back(b);
  }
  return own;
}

// Which pairs the choice lets see each other, (B, H, N, M).
at::Tensor chosen_pairs(const Operands& o, const Choice& c) {
  const int64_t n = o.queries(), m = o.keys();
  // Of the first batch entry nothing is padding.
  const bool causal = !o.seen[0].all().item<bool>();
  const at::Tensor real = o.j() < o.lengths.unsqueeze(1), q = o.q.detach();
  const at::Tensor queries = causal   ? q.slice(2, 0, n, c.query_block)
                             : n == m ? block_means(q, real, c.query_block)
                                      : block_means(q, at::ones({q.size(0), n}, at::kBool), c.query_block);
  const at::Tensor keys = block_means(o.k.detach(), real, c.block);
  const at::Tensor scores = (queries.unsqueeze(3) * keys.unsqueeze(2)).sum(-1).contiguous();
  at::Tensor seen = at::zeros({q.size(0), q.size(1), n, m}, at::kBool);
  for (int64_t entry = 0; entry < q.size(0); ++entry) {
    const int64_t length = o.lengths[entry].item<int64_t>(), known = (length + c.block - 1) / c.block;
    for (int64_t head = 0; head < q.size(1); ++head) {
      for (int64_t begin = 0; begin < n; begin += c.query_block) {
        if (!causal && n == m && begin >= length) continue;
        const at::Tensor row = scores[entry][head][begin / c.query_block],
                         sees = seen[entry][head].slice(0, begin, begin + c.query_block);
        const std::span of_real(row.const_data_ptr<double>(), static_cast<size_t>(known));
        for (const int64_t b : best_blocks(c, of_real, begin, causal)) {
          sees.slice(1, b * c.block, (b + 1) * c.block).fill_(true);
        }
      }
    }
  }
  return seen;
}

ProofRow hybrid_row(const Choice& c) {
  return {c.text(),
          [c](const Operands& o) { return softmax_over(scaled_dots(o), o.seen & chosen_pairs(o, c), o.v); },
          Limit{"hybrid:block_size=4,query_block=5,chosen=9", "softmax"},
          Peer{"hybrid_test: Hybrid.EqualsTheAuthorsMoBA"},
          CostLaw{1.0, always("hybrid:block_size=64,query_block=64,chosen=4")}};
}

std::vector<ProofRow> engine_rows() {
  return {
      softmax_row(),        dot_row(),      cosine_row(),  additive_row(),       bilinear_row(),
      low_rank_row(),       gaussian_row(), sink_row(),    sigmoid_row(),        sparsemax_row(),
      entmax_row(),         local_row(),    local_p_row(), longformer_row(),     longformer_projected_row(),
      strided_row(),        fixed_row(),    bigbird_row(), bigbird_random_row(), hybrid_row({2, 3, 2}),
      hybrid_row({5, 1, 3})};
}

}  // namespace

const std::vector<ProofRow>& proof_rows() {
  static const std::vector<ProofRow> all = [] {
    std::vector<ProofRow> rows;
    for (const auto family :
         {engine_rows, kernel_map_rows, low_rank_rows, plane_rows, range_rows, memory_rows}) {
      for (auto& row : family()) rows.push_back(std::move(row));
    }
    return rows;
  }();
  return all;
}

}  // namespace fovea::proofs
