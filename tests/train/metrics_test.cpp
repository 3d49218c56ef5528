#include "fovea/train/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"
#include "fovea/train/roc_auc.h"
#include "tests/support/numbers.h"

namespace fovea::train {
namespace {

using test::kInfinity, test::kNan;

at::Tensor matrix(const std::vector<std::vector<double>>& rows) {
  const auto n = static_cast<int64_t>(rows.size()), classes = static_cast<int64_t>(rows[0].size());
  at::Tensor result = at::empty({n, classes}, at::kDouble);
  for (int64_t i = 0; i < n; ++i) result[i].copy_(at::tensor(rows[i], at::kDouble));
  return result;
}

at::Tensor classes_of(const std::vector<int64_t>& labels) { return at::tensor(labels, at::kLong); }

// Every number of `wanted` is in `found`, to 1e-9; null stands for NaN.
void expect_equal(const nlohmann::json& found, const nlohmann::json& wanted, const std::string& what) {
  if (wanted.is_structured()) {
    ASSERT_EQ(found.type(), wanted.type()) << what;
    for (const auto& [key, value] : wanted.items()) {
      expect_equal(wanted.is_object() ? found.at(key) : found.at(std::stoul(key)), value, what + " " + key);
    }
  } else if (wanted.is_null()) {
    EXPECT_TRUE(found.is_null() || std::isnan(found.get<double>())) << what;
  } else {
    EXPECT_NEAR(found.get<double>(), wanted.get<double>(), 1e-9) << what;
  }
}

ErrorKind kind_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  return ErrorKind::other;
}

TEST(Metrics, EqualScikitLearn) {
  std::ifstream file(FOVEA_TEST_DATA "/metrics/cases.json");
  const nlohmann::json cases = nlohmann::json::parse(file);
  ASSERT_EQ(cases.size(), 12u);
  for (const nlohmann::json& one : cases) {
    const auto scores = matrix(one["scores"].get<std::vector<std::vector<double>>>());
    const auto labels = classes_of(one["labels"].get<std::vector<int64_t>>());
    const MetricOptions options{scores.size(1), /*probabilities=*/!one["logits"].get<bool>()};
    MetricAccumulator whole(options), first(options), second(options);
    whole.add(scores, labels);
    const int64_t cut = scores.size(0) / 3;
    first.add(scores.narrow(0, 0, cut), labels.narrow(0, 0, cut));
    second.add(scores.narrow(0, cut, scores.size(0) - cut), labels.narrow(0, cut, scores.size(0) - cut));
    first.merge(second);
    EXPECT_EQ(whole.result().n, labels.size(0));
    expect_equal(nlohmann::json(to_json(whole.result())), one["expected"], one["name"]);
    expect_equal(nlohmann::json(to_json(first.result())), one["expected"],
                 one["name"].get<std::string>() + " in parts");
  }
}

TEST(Metrics, TopFiveOfEqualScoresTakesTheLowerClasses) {
  MetricAccumulator metrics({7});
  metrics.add(at::zeros({5, 7}), classes_of({0, 0, 0, 4, 5}));
  EXPECT_DOUBLE_EQ(metrics.result().top1, 60.0);
  EXPECT_DOUBLE_EQ(metrics.result().top5, 80.0);
}

TEST(Metrics, HalfPrecisionScoresAndEmptyBatches) {
  MetricAccumulator metrics({3});
  metrics.add(at::tensor({1.0, 2.0, 4.0}).to(at::kBFloat16).reshape({1, 3}), classes_of({2}));
  metrics.add(at::empty({0, 3}), at::empty({0}, at::kLong));
  const auto result = metrics.result();
  EXPECT_EQ(result.n, 1);
  EXPECT_NEAR(result.loss, std::log(1 + std::exp(-2.0) + std::exp(-3.0)), 1e-12);
}

TEST(Metrics, ImpossibleClassesMayHaveMinusInfinity) {
  MetricAccumulator metrics({3});
  metrics.add(matrix({{0, -kInfinity, 0}}), classes_of({0}));
  EXPECT_NEAR(metrics.result().loss, std::log(2.0), 1e-12);
  metrics.add(matrix({{0, -kInfinity, 0}}), classes_of({1}));
  EXPECT_EQ(metrics.result().loss, kInfinity);
}

TEST(Metrics, RefusesBadNumbersAndAddsNothing) {
  MetricAccumulator metrics({3});
  const auto good = at::zeros({1, 3}), label = classes_of({0});
  const auto bad = [&](const at::Tensor& scores, const at::Tensor& labels) {
    return kind_of([&] { metrics.add(scores, labels); });
  };
  EXPECT_EQ(bad(matrix({{0, 0, 0}, {0, kNan, 0}}), classes_of({0, 0})), ErrorKind::numeric);
  EXPECT_EQ(bad(matrix({{0, kInfinity, 0}}), label), ErrorKind::numeric);
  EXPECT_EQ(bad(matrix({{-kInfinity, -kInfinity, -kInfinity}}), label), ErrorKind::numeric);
  EXPECT_EQ(bad(good, classes_of({3})), ErrorKind::data);
  EXPECT_EQ(bad(good, classes_of({-1})), ErrorKind::data);
  EXPECT_EQ(bad(at::zeros({1, 4}), label), ErrorKind::usage);
  EXPECT_EQ(bad(at::zeros({2, 3}), label), ErrorKind::usage);
  EXPECT_EQ(bad(at::zeros({1, 3}, at::kLong), label), ErrorKind::usage);
  EXPECT_EQ(bad(good, label.to(at::kInt)), ErrorKind::usage);
  EXPECT_EQ(metrics.n(), 0);
  EXPECT_EQ(kind_of([&] { metrics.result(); }), ErrorKind::data);
  EXPECT_EQ(kind_of([&] { MetricAccumulator({1}); }), ErrorKind::usage);
  EXPECT_EQ(kind_of([&] { metrics.merge(MetricAccumulator({4})); }), ErrorKind::usage);
  try {
    metrics.add(matrix({{0, 0, 0}, {0, kNan, 0}}), classes_of({0, 0}));
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "[metrics] scores must have a softmax; found NaN at place 1 of the batch.");
  }
}

TEST(Metrics, WithoutRocAucNothingIsKept) {
  MetricAccumulator metrics({3, false, /*roc_auc=*/false});
  metrics.add(at::zeros({2, 3}), classes_of({0, 1}));
  EXPECT_TRUE(std::isnan(metrics.result().roc_auc));
  EXPECT_EQ(metrics.result().top1, 50.0);
}

TEST(RocAuc, CountsPairs) {
  // 2 positives, 2 negatives: pairs won, won, tied, lost = 2.5 of 4.
  const std::vector<double> scores = {0.9, 0.4, 0.4, 0.5};
  EXPECT_DOUBLE_EQ(roc_auc(scores, {true, true, false, false}), (1 + 1 + 0.5 + 0) / 4);
  EXPECT_DOUBLE_EQ(roc_auc(std::vector<double>(4, 0.0), {true, true, false, false}), 0.5);
  EXPECT_TRUE(std::isnan(roc_auc(scores, {true, true, true, true})));
  EXPECT_TRUE(std::isnan(roc_auc({}, {})));
}

}  // namespace
}  // namespace fovea::train
