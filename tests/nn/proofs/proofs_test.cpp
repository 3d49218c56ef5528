#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <time.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fovea/nn/attention/registry.h"
#include "tests/nn/proofs/bench.h"
#include "tests/nn/proofs/counted_memory.h"
#include "tests/nn/proofs/places.h"
#include "tests/nn/proofs/proof.h"

namespace fovea::proofs {
namespace {

// max |a - b| / max(|b|, 1), whose sums are of the size of 1.
double error(const at::Tensor& a, const at::Tensor& b) {
  if (b.numel() == 0) return 0.0;
  const at::Tensor wide = b.to(at::kDouble);
  return (a.to(at::kDouble) - wide).abs().max().item<double>() /
         std::max(wide.abs().max().item<double>(), 1.0);
}

void expect_near(const Tensors& found, const Tensors& expected, double within, const std::string& what) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_LT(error(found[i], expected[i]), within) << what << ", " << (i == 0 ? "out" : "gradient ") << i;
  }
}

double rounding(at::ScalarType type) { return type == at::kDouble ? 1e-11 : 2e-5; }

class Proof : public testing::TestWithParam<ProofRow> {
 protected:
  /// Those with the row's options.
  static nn::AttentionTraits traits() { return build_for(GetParam(), GetParam().text, 16, kWidth)->traits(); }

  static void expect_formula(const Call& call) {
    at::manual_seed(call.queries * 1000 + call.keys);
    Bench bench(GetParam(), GetParam().text_of(call.queries), call);
    expect_near(bench.run(), bench.define(), rounding(call.type), call.text());
  }
};

TEST_P(Proof, EqualsItsFormula) {
  for (const int64_t n : {1, 15, 16, 17, 63, 64, 100, 257}) {
    for (const auto type : {at::kDouble, at::kFloat}) {
      Call call{n, n};
      call.type = type;
      expect_formula(call);
      call.causal = traits().causal_ok;
      call.lengths = traits().takes_lengths, call.strided = true;
      expect_formula(call);
    }
  }
  if (traits().supports_cross && !GetParam().rows) {
    for (const auto type : {at::kDouble, at::kFloat}) {
      Call call{19, 34};
      call.type = type;
      expect_formula(call);
      call.lengths = traits().takes_lengths;
      expect_formula(call);
    }
  }
  if (!GetParam().equal_heads) {
    Call call{33, 33, 1};
    expect_formula(call);
    call.type = at::kFloat;
    expect_formula(call);
  }
}

TEST_P(Proof, NothingGivesNothing) {
  Bench bench(GetParam(), GetParam().text_of(0), {0, 0});
  const Tensors results = bench.run();
  EXPECT_EQ(results[0].sizes(), (std::vector<int64_t>{kBatch, kHeads, 0, kSize}));
  for (const auto& t : results) EXPECT_TRUE(at::isfinite(t).all().item<bool>());
}

// Along random directions, of every operand and parameter at once.
TEST_P(Proof, GradientsAreSlopes) {
  at::manual_seed(11);
  Call call{6, 6};
  call.causal = traits().causal_ok;
  Bench bench(GetParam(), GetParam().text_of(call.queries), call);
  const Tensors at_point = bench.run();
  std::vector<at::Tensor*> places = {&bench.operands.q, &bench.operands.k, &bench.operands.v};
  if (bench.operands.x.defined()) places.push_back(&bench.operands.x);
  for (const auto& item : bench.attention->named_parameters()) {
    places.push_back(&bench.operands.parameters.at(item.key()));
  }
  ASSERT_EQ(places.size() + 1, at_point.size());
  const at::Tensor seen =
      at::arange(at_point[0].numel(), at::kDouble).add(1).mul(0.7).cos().view_as(at_point[0]);
  for (size_t i = 0; i < places.size(); ++i) {
    constexpr double kStep = 1e-6;
    const at::Tensor point = *places[i], direction = at::randn_like(point);
    const auto value = [&](double step) {
      *places[i] = point + direction * step;
      return (bench.run()[0] * seen).sum().item<double>();
    };
    const double slope = (value(kStep) - value(-kStep)) / (2 * kStep);
    *places[i] = point;
    EXPECT_NEAR((at_point[i + 1] * direction).sum().item<double>(), slope,
                1e-7 * std::max(1.0, std::abs(slope)))
        << "operand " << i;
  }
}

TEST_P(Proof, EqualsAnotherInItsLimit) {
  const auto* limit = std::get_if<Limit>(&GetParam().limit);
  if (!limit) {
    ASSERT_FALSE(std::get<Reason>(GetParam().limit).text.empty());
    return;
  }
  at::manual_seed(12);
  Bench bench(GetParam(), limit->text, {33, 33}), other(GetParam(), limit->equal_to, {33, 33});
  const torch::NoGradGuard no_grad;
  if (limit->where) limit->where(bench.operands);
  other.operands.q = bench.operands.q, other.operands.k = bench.operands.k;
  other.operands.v = bench.operands.v, other.operands.x = bench.operands.x;
  const at::AutoGradMode grad(true);
  EXPECT_LT(error(bench.run()[0], other.run()[0]), limit->within);
}

// Of the second batch entry half the keys are hidden: what they hold changes nothing.
TEST_P(Proof, HiddenKeysHaveNoInfluence) {
  if (!traits().takes_lengths) return;
  for (const auto type : {at::kDouble, at::kFloat}) {
    at::manual_seed(13);
    Call call{34, 34};
    call.lengths = true, call.type = type;
    Bench bench(GetParam(), GetParam().text_of(call.queries), call);
    const Tensors before = bench.run();
    for (at::Tensor* t : {&bench.operands.k, &bench.operands.v}) {
      t->select(0, 1).slice(1, 17).fill_(std::numeric_limits<double>::quiet_NaN());
    }
    expect_near(bench.run(), before, rounding(type), "NaN");
    // Zero keys: zeros, and no gradient.
    bench.operands.lengths[1] = 0;
    const Tensors blind = bench.run();
    EXPECT_EQ(blind[0].select(0, 1).abs().max().item<double>(), 0.0);
    for (size_t i = 0; i < blind.size(); ++i) {
      EXPECT_TRUE(at::isfinite(blind[i]).all().item<bool>()) << i;
      if (i >= 1 && i <= 3) {
        EXPECT_EQ(blind[i].select(0, 1).abs().max().item<double>(), 0.0) << i;
      }
    }
  }
}

TEST_P(Proof, HasAPeerOrSaysWhyNot) {
  const auto* peer = std::get_if<Peer>(&GetParam().peer);
  EXPECT_FALSE((peer ? peer->test : std::get<Reason>(GetParam().peer).text).empty());
}

// The slope of log y over log x by least squares.
double fitted_exponent(const std::vector<double>& x, const std::vector<double>& y) {
  double mx = 0, my = 0, top = 0, bottom = 0;
  const auto n = static_cast<double>(x.size());
  for (size_t i = 0; i < x.size(); ++i) mx += std::log(x[i]) / n, my += std::log(y[i]) / n;
  for (size_t i = 0; i < x.size(); ++i) {
    top += (std::log(x[i]) - mx) * (std::log(y[i]) - my);
    bottom += (std::log(x[i]) - mx) * (std::log(x[i]) - mx);
  }
  return top / bottom;
}

TEST_P(Proof, ProductsGrowAsItsPaperSays) {
  const auto* law = std::get_if<CostLaw>(&GetParam().cost);
  if (!law) {
    ASSERT_FALSE(std::get<Reason>(GetParam().cost).text.empty());
    return;
  }
  std::vector<double> lengths, products;
  for (int64_t n = 1024; n <= 32768; n *= 2) {
    const auto attention = build_for(GetParam(), law->text(n), n, kWidth);
    lengths.push_back(static_cast<double>(n));
    products.push_back(static_cast<double>(attention->cost(n, n, 16).multiply_adds));
  }
  EXPECT_NEAR(fitted_exponent(lengths, products), law->exponent, 0.06);
}

// Of the processor, which others may share.
double seconds_of_thread() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// A call of a proof row over n positions, timed.
class TimedCall {
 public:
  TimedCall(const ProofRow& row, const std::string& text, int64_t n)
      : attention_(build_for(row, text, n, kWidth)) {
    input_.grid = places_of(row, n);
    input_.q = at::randn({1, 1, n, 16}), input_.k = at::randn({1, 1, n, 16});
    input_.v = at::randn({1, 1, n, 16});
    if (attention_->traits().needs_x) input_.x = at::randn({1, n, kWidth});
  }

  void run() {
    const double start = seconds_of_thread();
    attention_->forward(input_);
    best_ = std::min(best_, seconds_of_thread() - start);
  }

  double best() const { return best_; }

 private:
  std::shared_ptr<nn::Attention> attention_;
  nn::AttentionInput input_;
  double best_ = std::numeric_limits<double>::infinity();
};

// Where time is spent in what cost() counts. Between two lengths far apart: what else the machine does, and a
// window's tiles, which are counted whole, matter little. In turns: a machine that slows down slows both.
TEST_P(Proof, TimeGrowsAsItsProducts) {
  const auto* law = std::get_if<CostLaw>(&GetParam().cost);
  if (!law || !law->timed) return;
  const torch::NoGradGuard no_grad;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const int64_t many = GetParam().grid ? 4 : 1;  // lines are short, and each has its price
  const int64_t usual = law->exponent < 2.0 ? 4096 : GetParam().memory_exponent > 1.0 ? 192 : 1024;
  const int64_t few = law->shortest > 0 ? law->shortest : many * usual;
  TimedCall brief(GetParam(), law->text(few), few), lengthy(GetParam(), law->text(8 * few), 8 * few);
  for (int round = 0; round < 5; ++round) {
    brief.run(), brief.run(), lengthy.run();
  }
  at::set_num_threads(threads);
  const double exponent = std::log(lengthy.best() / brief.best()) / std::log(8.0);
  RecordProperty("exponent", std::to_string(exponent));
  EXPECT_NEAR(exponent, law->exponent, 0.4);
}

// The most that a call of `text` over n positions takes at once beside its operands and result, and what
// cost() says.
std::pair<double, double> bytes_of_call(const ProofRow& row, const std::string& text, int64_t n) {
  const auto attention = build_for(row, text, n, kWidth);
  nn::AttentionInput input;
  input.grid = places_of(row, n);
  const int64_t m = row.memory_keys ? row.memory_keys : n;
  input.q = at::randn({1, 1, n, 16}), input.k = at::randn({1, 1, m, 16}), input.v = at::randn({1, 1, m, 16});
  if (row.rows) input.x = at::randn({1, n, kWidth});
  const int64_t before = bytes_out();
  reset_peak();
  const at::Tensor out = attention->forward(input).out;
  return {static_cast<double>(peak_bytes_out() - before) - static_cast<double>(out.nbytes()),
          static_cast<double>(attention->cost(n, m, 16).bytes)};
}

// What grows with N, in lengths where it stands above the kernel's tiles, which do not.
TEST_P(Proof, MemoryGrowsAsItsCostSays) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer has an allocator of its own";
#endif
  const torch::NoGradGuard no_grad;
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const auto* law = std::get_if<CostLaw>(&GetParam().cost);
  std::vector<double> taken, said;
  const bool much = GetParam().grid || GetParam().memory_keys > 0;
  const int64_t shortest = GetParam().memory_exponent > 1.0 ? 1024 : much ? 16384 : 1024;
  for (const int64_t n : {shortest, 2 * shortest, 4 * shortest}) {
    const std::string text = law && !GetParam().rows ? law->text(n) : GetParam().text_of(n);
    const auto [bytes, cost] = bytes_of_call(GetParam(), text, n);
    taken.push_back(bytes), said.push_back(cost);
  }
  at::set_num_threads(threads);
  if (GetParam().memory_exponent == 0.0) {
    EXPECT_LT(taken[2] - taken[0], 0.1 * 4.0 * static_cast<double>(shortest * 16 * sizeof(float)));
    EXPECT_EQ(said[2], said[0]);
    return;
  }
  EXPECT_NEAR(std::log2((taken[2] - taken[1]) / (taken[1] - taken[0])), GetParam().memory_exponent, 0.2);
  EXPECT_NEAR((taken[2] - taken[1]) / (said[2] - said[1]), 1.0, 0.3);
}

std::string name_of(const testing::TestParamInfo<ProofRow>& info) {
  std::string name;
  for (const char c : info.param.text) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Every, Proof, testing::ValuesIn(proof_rows()), name_of);

TEST(Proofs, EveryMechanismHasARow) {
  std::set<std::string> proved;
  for (const auto& row : proof_rows()) proved.insert(nn::parse_attention(row.text).entry->name);
  for (const auto& entry : nn::attention_entries()) EXPECT_TRUE(proved.contains(entry.name)) << entry.name;
}

}  // namespace
}  // namespace fovea::proofs
