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
  return axial_row("axial:axes=columns", [](const Operands& o) {
    return softmax_over(scaled_dots(o), on_line(o, column_of(o)), o.v);
  });
}

}  // namespace

std::vector<ProofRow> plane_rows() {
  return {axial_sum_row(), axial_sequence_row(), axial_rows_row(), axial_columns_row()};
}

}  // namespace fovea::proofs
