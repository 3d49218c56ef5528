#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "fovea/mods/mask.h"
#include "fovea/nn/attention/alibi.h"
#include "fovea/nn/attention/attention.h"
#include "fovea/nn/attention/options.h"
#include "fovea/ops/attend_functors.h"

namespace fovea::nn {

/// What mechanisms over attend() may be told. Each shows those that mean something of it.
struct EngineOptions {
  /// Of the scaled dot product.
  std::optional<double> scale;
  std::optional<double> softcap;
  bool alibi = false;
  CausalAlignment causal = CausalAlignment::none;
  /// window is both sides, where they are not given by themselves.
  std::optional<int64_t> window, window_left, window_right;
  std::optional<int64_t> block;
  int64_t dilation = 1;
  /// So many positions at the start see all and are seen by all, whatever window and dilation say.
  int64_t global = 0;
  std::string normaliser = "softmax";
  std::optional<double> sigmoid_bias;

  /// Throws fovea::Error (usage) where values do not go together.
  void check(const std::string& where) const;
};

template <class Visitor>
void visit_softcap(EngineOptions& o, Visitor& visit) {
  visit(OptionText{"softcap", "scores become c tanh(s / c)", "Gemma 2 (Gemma Team 2024), section 2"},
        o.softcap, NumberAbove{});
}

template <class Visitor>
void visit_scores(EngineOptions& o, Visitor& visit) {
  visit_softcap(o, visit);
  visit(OptionText{"alibi", "s_ij - 2^(-8 (h + 1) / H) |i - j|", "ALiBi (Press et al. 2022), section 3"},
        o.alibi);
}

template <class Visitor>
void visit_scale(EngineOptions& o, Visitor& visit) {
  const std::string meaning = "s_ij = scale q_i . k_j";
  visit(OptionText{"scale", o.scale ? meaning : meaning + "; 1 / sqrt(D) when left out",
                   "Vaswani et al. 2017, 3.2.1"},
        o.scale, AnyNumber{});
}

template <class Visitor>
void visit_causal_order(CausalAlignment& causal, Visitor& visit) {
  visit(OptionText{"causal", "j <= i; bottom_right: j <= i + M - N", "Vaswani et al. 2017, 3.2.3"}, causal,
        Choice<CausalAlignment>{{"false", CausalAlignment::none},
                                {"true", CausalAlignment::top_left},
                                {"bottom_right", CausalAlignment::bottom_right},
                                {"top_left", CausalAlignment::top_left}});
}

template <class Visitor>
void visit_block(EngineOptions& o, Visitor& visit) {
  visit(OptionText{"block", "positions in a block of the call's mask of blocks",
                   "BigBird (Zaheer et al. 2020), section 2"},
        o.block, WholeFrom{1});
}

template <class Visitor>
void visit_causal(EngineOptions& o, Visitor& visit) {
  visit_causal_order(o.causal, visit);
  visit_block(o, visit);
}

template <class Visitor>
void visit_window(EngineOptions& o, Visitor& visit) {
  constexpr const char* kSource = "Longformer (Beltagy et al. 2020), 3.1";
  visit(OptionText{"window", "i - window <= j <= i + window", kSource}, o.window, WholeFrom{0});
  visit(OptionText{"window_left", "i - window_left <= j, in the place of window", kSource}, o.window_left,
        WholeFrom{0});
  visit(OptionText{"window_right", "j <= i + window_right, in the place of window", kSource}, o.window_right,
        WholeFrom{0});
  visit(OptionText{"dilation", "dilation divides i - j", kSource}, o.dilation, WholeFrom{1});
  visit(OptionText{"global", "or i < global or j < global, whatever window and dilation say", kSource},
        o.global, WholeFrom{0});
}

template <class Visitor>
void visit_sigmoid_bias(EngineOptions& o, Visitor& visit) {
  visit(OptionText{"sigmoid_bias", "weights 1 / (1 + exp(-s_ij - sigmoid_bias)); -log(M) when left out",
                   "Ramapuram et al. 2024, section 2"},
        o.sigmoid_bias, AnyNumber{});
}

/// The names that attend_normalisers.h knows.
Choice<std::string> normaliser_choice();

template <class Visitor>
void visit_normaliser(EngineOptions& o, Visitor& visit) {
  visit(
      OptionText{
          "normaliser",
          "how scores become weights, as the mechanisms of these names; entmax15: entmax of alpha 1.5"},
      o.normaliser, normaliser_choice());
  visit_sigmoid_bias(o, visit);
}

/// All that scores which are no scaled dot product can be told.
struct ScoreFreeOptions : EngineOptions {
  template <class Visitor>
  static void fields(EngineOptions& o, Visitor&& visit) {
    visit_scores(o, visit);
    visit_causal(o, visit);
    visit_window(o, visit);
    visit_normaliser(o, visit);
  }
};

/// The same of a scaled dot product.
struct DotOptions : EngineOptions {
  template <class Visitor>
  static void fields(EngineOptions& o, Visitor&& visit) {
    visit_scale(o, visit);
    ScoreFreeOptions::fields(o, visit);
  }
};

/// A mechanism over attend(): it differs by score, mask or normaliser. The normaliser softmax_sink has a
/// parameter `sinks` (H), 0 at the start.
class EngineAttention : public Attention {
 public:
  EngineAttention(AttentionKind kind, const AttentionShape& shape, EngineOptions options);

  AttentionCost cost(int64_t n, int64_t m, int64_t d) const override;
  CausalAlignment causal() const override { return options_.causal; }
  std::optional<int64_t> block() const override { return options_.block; }
  bool runs_untrained() const override;
  /// With its scale and its cap of scores.
  std::string exact_form(int64_t n) const override;
  /// Which implementation runs for this input, which fits.
  AttendChoice choice(const AttentionInput& input);

  at::Tensor sinks;

 protected:
  AttentionOutput run(const AttentionInput& input) override;

  /// Pairs that the mechanism lets attend, of n queries and m keys.
  virtual int64_t pairs(int64_t n, int64_t m) const;
  /// A score or mask that options cannot say, by bind(), or bound_with() for ALiBi beside a mask. It takes
  /// the place of the options' own: alibi, dilation and global are not to be shown beside it.
  virtual std::shared_ptr<const AttendFunctors> functors() const;
  /// What the mechanism does to operands and options before attend().
  virtual void prepare(AttentionInput&, AttendOptions&) const {}
  /// attend(), or an operator of its kind.
  virtual AttendResult attend_with(const AttentionInput& input, const AttendOptions& options) const;
  virtual AttendChoice choice_with(const AttentionInput& input, const AttendOptions& options) const;

  /// The call's options and the mechanism's.
  AttendOptions options_of(const AttentionCall& call) const;
  const EngineOptions& options() const { return options_; }

  /// `mask` with the score that ALiBi gives where it is asked for.
  template <class M>
  std::shared_ptr<const AttendFunctors> bound_with(M mask) const {
    if (!options_.alibi) return bind(Identity{}, std::move(mask));
    return bind(Alibi{float_table(alibi_slopes(shape().heads))}, std::move(mask));
  }

 private:
  /// The window on each side, where there is one.
  AttendWindow window() const;
  /// Whether dilated keys are put together for so many positions.
  bool gathers(int64_t length) const;
  AttendResult attend_dilated(const AttentionInput& input, AttendOptions options) const;

  EngineOptions options_;
};

/// The first rows of what broadcasts to (B, H, N, M).
std::optional<at::Tensor> first_rows(const std::optional<at::Tensor>& t, int64_t count);

/// Numbers j in [low, high] with j = i modulo `step`.
int64_t count_steps(int64_t low, int64_t high, int64_t i, int64_t step);

}  // namespace fovea::nn
