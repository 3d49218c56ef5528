#pragma once
#include "fovea/nn/attention/engine.h"
#include "fovea/nn/attention/entry.h"
#include "fovea/nn/attention/lines.h"

namespace fovea::nn {

/// What becomes of attention along rows and along columns.
enum class AxialForm { sum, sequence, rows, columns };

struct AxialOptions : EngineOptions {
  AxialForm axes = AxialForm::sum;

  template <class Visitor>
  static void fields(AxialOptions& o, Visitor&& visit) {
    visit(
        OptionText{"axes",
                   "sum: rows and columns, added; sequence: columns attend to what rows gave; rows, columns: "
                   "one of them"},
        o.axes,
        Choice<AxialForm>{{"sum", AxialForm::sum},
                          {"sequence", AxialForm::sequence},
                          {"rows", AxialForm::rows},
                          {"columns", AxialForm::columns}});
    visit_scale(o, visit);
    visit_causal_order(o.causal, visit);
  }
};

/// Attention along the rows and the columns of a grid, by the same q and k.
///   along_a(v)_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j over the j in i's line of axis a
///   sum: along_rows(v) + along_columns(v)          sequence: along_columns(along_rows(v))
/// Tokens before the grid belong to every line: they see all and are seen by all. Causal order is that of the
/// sequence, row by row; a mask or bias of pairs counts where they share a line. Slopes, tables by distance
/// and blocks are refused. Weights are those of all pairs, for sum of both axes.   O(N (rows + columns) D)
/// time and O(N D) memory; cost() takes N places without a grid for a square. Source: Axial Attention in
/// Multidimensional Transformers (Ho et al. 2019), 3.1, whose layers have one axis each; the sum is that of
/// the package axial-attention.
class AxialAttention : public EngineAttention {
 public:
  AxialAttention(AttentionKind kind, const AttentionShape& shape, const AxialOptions& options)
      : EngineAttention(std::move(kind), shape, options), axes_(options.axes) {}
  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;

 protected:
  AttentionOutput run(const AttentionInput& input) override;
  int64_t pairs(int64_t n, int64_t m) const override;

 private:
  AttentionOutput along(GridAxis axis, const AttentionInput& input) const;
  AttendResult attend_tokens(const AttentionInput& input) const;
  AttendOptions options_along(const GridLines& lines, const AttentionInput& input) const;
  void check_call(const AttentionInput& input) const;

  AxialForm axes_;
};

AttentionEntry axial_attention();

}  // namespace fovea::nn
