#include "tests/nn/proofs/plane_rows.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "tests/nn/proofs/formulas.h"

namespace fovea::proofs {

Grid grid_of(int64_t n) {
  const auto divided = [](int64_t places) {
    Grid grid{0, 0, 0};
    for (int64_t rows = 1; rows * rows <= places; ++rows) {
      if (places % rows == 0) grid = {rows, places / rows, 0};
    }
    return grid;
  };
  Grid grid = divided(n);
  if (grid.rows != 1 || n < 5) return grid;
  grid = divided(n - 1);
  grid.tokens = 1;
  return grid;
}

namespace {

CostLaw of_text(double exponent, const char* text) {
  return {exponent, [text](int64_t) { return std::string(text); }};
}

const Reason kNoPackage{"PyTorch, torchvision, timm and transformers have none"};

// Row and column of each position, -1 of a token.
at::Tensor row_of(const Operands& o) {
  return at::where(o.j() < o.grid.tokens, at::full({}, -1, at::kLong),
                   (o.j() - o.grid.tokens).floor_divide(std::max<int64_t>(o.grid.columns, 1)));
}

at::Tensor column_of(const Operands& o) {
  return at::where(o.j() < o.grid.tokens, at::full({}, -1, at::kLong),
                   (o.j() - o.grid.tokens).remainder(std::max<int64_t>(o.grid.columns, 1)));
}

// Tokens are in every line.
at::Tensor on_line(const Operands& o, const at::Tensor& line) {
  const at::Tensor i = line.unsqueeze(1), j = line.unsqueeze(0);
  return o.seen & ((i == j) | (i < 0) | (j < 0));
}

ProofRow axial_row(const char* text, Formula formula) {
  ProofRow row{text, std::move(formula), Reason{"axes by themselves hide keys from a query at any option"},
               Peer{"plane_test: PlanePeers.AxialAttention"}, of_text(1.5, text)};
  row.grid = true;
  return row;
}

ProofRow axial_sum_row() {
  return axial_row("axial", [](const Operands& o) {
    return softmax_over(scaled_dots(o), on_line(o, row_of(o)), o.v) +
           softmax_over(scaled_dots(o), on_line(o, column_of(o)), o.v);
  });
}

ProofRow axial_sequence_row() {
  ProofRow row = axial_row("axial:axes=sequence,scale=0.3", [](const Operands& o) {
    Operands next = o;
    next.v = softmax_over(dots(o) * 0.3, on_line(o, row_of(o)), o.v);
    return softmax_over(dots(o) * 0.3, on_line(o, column_of(o)), next.v);
  });
  // Without a score both axes are means, and the mean of the means of rows is that of all.
  row.limit = Limit{"axial:axes=sequence,scale=0", "softmax:scale=0"};
  return row;
}

ProofRow axial_rows_row() {
  ProofRow row = axial_row("axial:axes=rows", [](const Operands& o) {
    return softmax_over(scaled_dots(o), on_line(o, row_of(o)), o.v);
  });
  row.memory_exponent = 0.0;  // rows of one head lie as they come
  return row;
}

ProofRow axial_columns_row() {
  ProofRow row = axial_row("axial:axes=columns", [](const Operands& o) {
    return softmax_over(scaled_dots(o), on_line(o, column_of(o)), o.v);
  });
  std::get<CostLaw>(row.cost).timed = false;  // half of the time gathers columns
  return row;
}

// (B, 1, N, 1): 1 for the keys of each batch entry.
at::Tensor known(const Operands& o) {
  return (o.j() < o.lengths.unsqueeze(1)).to(at::kDouble).unsqueeze(1).unsqueeze(3);
}

// e / sum e along a dimension.
at::Tensor shares(const at::Tensor& e, int64_t dim) { return e / e.sum(dim, true).clamp_min(1e-300); }

at::Tensor over_channels(const Operands& o, double sign) {
  const at::Tensor energy = ((o.q * known(o)).unsqueeze(4) * o.k.unsqueeze(3)).sum(2);  // (B, H, D, D)
  const at::Tensor weights = shares((sign * energy).exp(), 3);
  return (weights.unsqueeze(2) * (o.v * known(o)).unsqueeze(3)).sum(4);
}

ProofRow channel_row() {
  ProofRow row{"channel", [](const Operands& o) { return over_channels(o, -1.0); },
               Reason{"it mixes channels: no limit of it attends to positions"}, kNoPackage,
               CostLaw{1.0, [](int64_t) { return std::string("channel"); }, /*timed=*/false}};
  row.memory_exponent = 0.0;
  return row;
}

ProofRow channel_paper_row() {
  ProofRow row = channel_row();
  row.text = "channel:score=paper";
  row.formula = [](const Operands& o) { return over_channels(o, 1.0); };
  return row;
}

ProofRow position_row() {
  return {"position", [](const Operands& o) { return softmax_over(dots(o), o.seen, o.v); },
          Limit{"position", "dot"}, kNoPackage, of_text(2.0, "position")};
}

// Maps that are the same everywhere gather means, which every query gets.
ProofRow double_row() {
  return {"double",
          [](const Operands& o) {
            const at::Tensor maps = shares(o.k.exp() * known(o), 2);
            const at::Tensor descriptors = (maps.unsqueeze(4) * o.v.unsqueeze(3)).sum(2);  // (B, H, D, Dv)
            return (shares(o.q.exp(), 3).unsqueeze(4) * descriptors.unsqueeze(2)).sum(3);
          },
          Limit{"double", "softmax:scale=0", 1e-12, [](Operands& o) { o.k.zero_(); }}, kNoPackage,
          of_text(1.0, "double")};
}

// r_(there - here), (N, M, D), 0 of tokens.
at::Tensor distance_keys(const at::Tensor& table, const at::Tensor& place) {
  const at::Tensor here = place.unsqueeze(1), there = place.unsqueeze(0), both = (here >= 0) & (there >= 0);
  const at::Tensor entry = at::where(both, there - here + table.size(0) / 2, at::zeros({}, at::kLong));
  return table.index({entry}) * both.unsqueeze(2);
}

ProofRow conv_augmented_row() {
  ProofRow row{"conv_augmented",
               [](const Operands& o) {
                 const at::Tensor keys = distance_keys(o.parameter("key_rel_w"), column_of(o)) +
                                         distance_keys(o.parameter("key_rel_h"), row_of(o));
                 const at::Tensor products = (o.q.unsqueeze(3) * (o.k.unsqueeze(2) + keys)).sum(-1);
                 return softmax_over(products / std::sqrt(static_cast<double>(o.q.size(3))), o.seen, o.v);
               },
               Limit{"conv_augmented", "softmax", 1e-12,
                     [](Operands& o) {
                       o.parameters.at("key_rel_w").zero_();
                       o.parameters.at("key_rel_h").zero_();
                     }},
               Reason{"its authors' code is of TensorFlow 1; the ports to PyTorch are no packages"},
               // N^2 (2 D + rows + columns) at D = 16.
               of_text(2.4, "conv_augmented")};
  row.grid = true;
  row.memory_exponent = 1.4;
  return row;
}

// A point shares its place's value with the next by a hat of two places' width.
ProofRow deformable_row() {
  ProofRow row{"deformable:places=sequence,points=3",
               [](const Operands& o) {
                 const auto linear = [&](const std::string& name) {
                   return at::einsum("bte,fe->btf", {o.x, o.parameter(name + ".weight")}) +
                          o.parameter(name + ".bias");
                 };
                 const int64_t heads = o.q.size(1);
                 const at::Tensor
                     offset =
                         linear("sampling_offsets").unflatten(2, {heads, 3, 2}).select(4, 0).transpose(1, 2),
                     share = linear("attention_weights").unflatten(2, {heads, 3}).softmax(-1).transpose(1, 2);
                 const at::Tensor place = o.i().view({1, 1, -1, 1}) + offset;
                 const at::Tensor hat = (1 - (place.unsqueeze(4) - o.j()).abs()).clamp_min(0.0);
                 return weighted((hat * share.unsqueeze(4)).sum(3), o.v);
               },
               Limit{"deformable:places=sequence", "local:window=0", 1e-12,
                     [](Operands& o) {
                       o.parameters.at("sampling_offsets.weight").zero_();
                       o.parameters.at("sampling_offsets.bias").zero_();
                     }},
               Peer{"deformable_test: MultiScaleDeformable.EqualsTransformersAtPoints"},
               of_text(1.0, "deformable:places=sequence")};
  row.rows = true;
  return row;
}

}  // namespace

std::vector<ProofRow> plane_rows() {
  return {axial_sum_row(),      axial_sequence_row(), axial_rows_row(), axial_columns_row(),
          channel_row(),        channel_paper_row(),  position_row(),   double_row(),
          conv_augmented_row(), deformable_row()};
}

}  // namespace fovea::proofs
