#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace fovea::train {

/// Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.
///   U = sum over groups of equal score g: p_g (negatives below g + n_g / 2),   auc = U / (P N)
/// scores and positive have the same length. NaN when all are of one kind. O(n log n). Equals
/// scikit-learn's roc_auc_score, whose trapezoids over distinct scores give the same sum.
/// Source: Hanley and McNeil, The meaning and use of the area under a ROC curve (1982).
double roc_auc(std::span<const double> scores, const std::vector<bool>& positive);

}  // namespace fovea::train
