// One training: learning, the best checkpoint, accumulation, numbers gone wrong.
#include <ATen/ATen.h>

#include <map>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "fovea/io/tensors.h"
#include "fovea/nn/penalty.h"
#include "fovea/train/evaluate.h"
#include "fovea/train/log.h"
#include "fovea/train/run_folder.h"
#include "fovea/train/train_step.h"
#include "tests/train/trainer_fixture.h"

namespace fovea::train {
namespace {

TEST_F(TrainerTest, LearnsAndKeepsTheBest) {
  std::vector<int64_t> steps;
  double left = 0.0;
  on_step_ = [&](const StepReport& report) {
    steps.push_back(report.step);
    left = report.seconds_left;
  };
  const TrainResult result = train("run", {{"epochs", 20}, {"lr", 0.01}, {"keep_checkpoints", 1}});
  EXPECT_EQ(result.step, 80);
  EXPECT_EQ(result.epochs, 20);
  EXPECT_FALSE(result.stopped);
  EXPECT_GT(result.best_top1, 90.0);
  EXPECT_GT(result.seconds, 0.0);
  EXPECT_EQ(result.last, "checkpoint-80");
  EXPECT_EQ(steps.size(), 80u);
  EXPECT_GT(left, 0.0);  // The last validation is still to come.
  EXPECT_LT(left, result.seconds / 20);
  EXPECT_LE(checkpoint_names(root_ / "run").size(), 2u);
  double best = -1.0;
  std::string best_name;
  for (const json& line : log_of(root_ / "run")) {
    if (!line.contains("val_top1") || line["val_top1"].get<double>() <= best) continue;
    best = line["val_top1"];
    best_name = checkpoint_name(line["step"]);
  }
  EXPECT_EQ(result.best, best_name);
  EXPECT_EQ(result.best_top1, best);
  const json first = log_of(root_ / "run").front();
  for (const char* key : {"step", "epoch", "loss", "accuracy", "lr", "grad_norm"})
    EXPECT_TRUE(first.contains(key)) << key;
  // The best weights give the figure that was logged.
  TrainerParts parts = small_parts(json::object());
  const io::TensorMap weights = io::load_tensors(find_checkpoint(root_ / "run").weights);
  for (auto& item : parts.model->named_parameters()) item.value().data().copy_(weights.at(item.key()));
  for (auto& item : parts.model->named_buffers()) item.value().copy_(weights.at(item.key()));
  EXPECT_DOUBLE_EQ(evaluate(*parts.model, *parts.val).top1, best);
  EXPECT_TRUE(parts.model->is_training());
}

TEST_F(TrainerTest, AccumulationEqualsOneLargeBatch) {
  // Without batch norm, dropout and augmentation nothing else depends on the batch.
  const SmallRunOptions plain = {{false, 0.0, 0.0}, 0.0, 1, false};
  for (const char* optimizer : {"sgd", "adamw"}) {
    std::map<std::string, at::Tensor> results[2];
    for (int way = 0; way < 2; ++way) {
      const json keys = {{"max_steps", 6},
                         {"optimizer", optimizer},
                         {"batch_size", way == 0 ? 16 : 4},
                         {"accumulate", way == 0 ? 1 : 4},
                         {"label_smoothing", 0.1},
                         {"lr", 0.01}};
      const std::string name = std::string(optimizer) + std::to_string(way);
      train(name, keys, plain);
      results[way] = io::load_tensors(root_ / name / "checkpoint-6/model.safetensors");
    }
    for (const auto& [name, tensor] : results[0]) {
      EXPECT_LT((tensor - results[1].at(name)).abs().max().item<double>(), 2e-5) << optimizer << " " << name;
      EXPECT_FALSE(tensor.equal(at::zeros_like(tensor)));
    }
  }
}

std::vector<data::Batch> five_and_two(const at::Tensor& images, const at::Tensor& labels) {
  std::vector<data::Batch> batches(2);
  for (int i = 0; i < 2; ++i) {
    batches[i].images = images.narrow(0, 5 * i, i == 0 ? 5 : 2);
    batches[i].labels = labels.narrow(0, 5 * i, i == 0 ? 5 : 2);
  }
  return batches;
}

// Batches of 5 and 2 samples against the formulas, on all 7 at once.
TEST(TrainStepTest, EqualsItsFormulaWithAnIncompleteGroup) {
  const double lr = 0.3, smoothing = 0.2;
  for (const double clip : {0.0, 0.05}) {
    TrainConfig config;
    config.optimizer = "sgd", config.momentum = 0.0, config.accumulate = 4, config.batch_size = 5;
    config.label_smoothing = smoothing, config.clip_norm = clip;
    at::manual_seed(1);
    SmallNet net({false, 0.0, 0.0});
    const at::Tensor images = at::randn({7, 1, 8, 8}), labels = at::randint(3, {7}, at::kLong);

    const at::Tensor log_p = at::log_softmax(net.forward(images), 1);
    const at::Tensor targets = (1 - smoothing) * at::one_hot(labels, 3) + smoothing / 3;
    const at::Tensor loss = -(targets * log_p).sum() / 7;
    loss.backward();
    double squares = 0.0;
    for (const auto& p : net.parameters()) squares += p.grad().square().sum().item<double>();
    const double norm = std::sqrt(squares);
    ASSERT_GT(norm, 0.1);
    const double scale = clip > 0 ? clip / (norm + 1e-6) : 1.0;
    std::vector<at::Tensor> expected;
    for (const auto& p : net.parameters()) expected.push_back(p.detach() - lr * scale * p.grad());

    TrainStep step(net, config);
    const StepOutcome outcome = step.run(five_and_two(images, labels), lr, 1);
    EXPECT_NEAR(outcome.loss, loss.item<double>(), 1e-6);
    EXPECT_NEAR(outcome.grad_norm, norm, 1e-5 * norm);
    EXPECT_EQ(outcome.samples, 7);
    EXPECT_EQ(outcome.correct, log_p.argmax(1).eq(labels).sum().item<int64_t>());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_LT((net.parameters()[i] - expected[i]).abs().max().item<double>(), 1e-6) << i;
    }
  }
}

// A network that pays for the size of its weights.
struct PricedNet : SmallNet {
  struct Price : torch::nn::Module, nn::Penalised {
    void pay(const at::Tensor& weight) { owe(weight.square().sum()); }
  };
  PricedNet() : SmallNet({false, 0.0, 0.0}) { price = register_module("price", std::make_shared<Price>()); }
  at::Tensor forward(const at::Tensor& images) override {
    price->pay(head->weight);
    return SmallNet::forward(images);
  }
  std::shared_ptr<Price> price;
};

// Batches of 5 and 2 samples owe it in parts of 5 / 7 and 2 / 7.
TEST(TrainStepTest, AddsWhatModulesOwe) {
  TrainConfig config;
  config.optimizer = "sgd", config.momentum = 0.0, config.clip_norm = 0.0;
  at::manual_seed(1);
  PricedNet net;
  const at::Tensor images = at::randn({7, 1, 8, 8}), labels = at::randint(3, {7}, at::kLong);
  const at::Tensor loss =
      at::cross_entropy_loss(net.forward(images), labels) + net.head->weight.square().sum();
  loss.backward();
  const at::Tensor expected = net.head->weight.detach() - 0.1 * net.head->weight.grad();
  TrainStep step(net, config);
  EXPECT_NEAR(step.run(five_and_two(images, labels), 0.1, 1).loss, loss.item<double>(), 1e-6);
  EXPECT_LT((net.head->weight - expected).abs().max().item<double>(), 1e-6);
}

TEST_F(TrainerTest, TheFirstStepHasTheFirstLearningRate) {
  json keys = {{"max_steps", 1},         {"optimizer", "sgd"}, {"momentum", 0.0},
               {"schedule", "constant"}, {"lr", 0.5},          {"warmup_steps", 10}};
  const auto change = [&](const std::string& name) {
    TrainerParts parts = small_parts(keys);
    const at::Tensor before = parts.model->named_parameters()["head.weight"].detach().clone();
    train(name, std::move(parts));
    return io::load_tensors(root_ / name / "checkpoint-1/model.safetensors").at("head.weight") - before;
  };
  const at::Tensor warm = change("warm");
  keys["warmup_steps"] = 0;
  const at::Tensor full = change("full");
  // Differences of weights of size 0.1, rounded to float32.
  EXPECT_LT((warm - full / 10).abs().max().item<double>(), 2e-8);
  EXPECT_GT(full.abs().max().item<double>(), 1e-3);
}

TEST_F(TrainerTest, ValidationMeasuresTheAveragedWeightsThatAreSaved) {
  train("run", {{"max_steps", 8}, {"ema_decay", 0.99}});
  TrainerParts parts = small_parts(json::object());
  const io::TensorMap weights = io::load_tensors(root_ / "run/checkpoint-8/model.safetensors");
  for (auto& item : parts.model->named_parameters()) item.value().data().copy_(weights.at(item.key()));
  for (auto& item : parts.model->named_buffers()) item.value().copy_(weights.at(item.key()));
  const double loss = evaluate(*parts.model, *parts.val).loss;
  EXPECT_DOUBLE_EQ(log_of(root_ / "run").back()["val_loss"].get<double>(), loss);
  const io::TensorMap state = io::load_tensors(root_ / "run/checkpoint-8/state.safetensors");
  EXPECT_FALSE(state.at("weights.head.weight").equal(weights.at("head.weight")));
}

TEST_F(TrainerTest, ActivationCheckpointingChangesNothing) {
  train("plain", {{"max_steps", 5}});
  train("saving", {{"max_steps", 5}, {"activation_checkpointing", true}});
  EXPECT_TRUE(io::read_file(root_ / "plain/checkpoint-5/model.safetensors") ==
              io::read_file(root_ / "saving/checkpoint-5/model.safetensors"));
}

/// The small network with a fault in it from its `when`-th forward pass in training on.
class FaultyNet : public SmallNet {
 public:
  FaultyNet(int when, bool in_backward) : when_(when), in_backward_(in_backward) {}
  at::Tensor forward(const at::Tensor& images) override {
    if (is_training() && ++calls_ >= when_) {
      at::NoGradGuard no_grad;
      // sqrt at 0 is finite, its slope is not.
      if (!in_backward_) branch->bias.fill_(INFINITY);
    }
    const at::Tensor out = SmallNet::forward(images);
    if (in_backward_ && is_training() && calls_ >= when_) return out + (head->bias * 0.0).sqrt();
    return out;
  }

 private:
  int when_, calls_ = 0;
  bool in_backward_;
};

TEST_F(TrainerTest, ANumberGoneWrongIsNamedAndNothingIsSpoilt) {
  struct Case {
    const char* name;
    bool in_backward;
    const char* where;
  };
  for (const Case& c :
       {Case{"forward", false, "the parameter branch.bias"}, {"backward", true, "head.bias"}}) {
    TrainerParts parts = small_parts({{"max_steps", 9}, {"checkpoint_every", 2}});
    parts.model = std::make_shared<FaultyNet>(6, c.in_backward);
    try {
      train(c.name, std::move(parts));
      FAIL() << c.name;
    } catch (const Error& error) {
      const std::string text = error.what();
      EXPECT_EQ(error.kind(), ErrorKind::numeric);
      EXPECT_NE(text.find(c.where), std::string::npos) << text;
      EXPECT_NE(text.find("step 6"), std::string::npos) << text;
      EXPECT_NE(text.find((root_ / c.name / "checkpoint-4").string()), std::string::npos) << text;
    }
    EXPECT_EQ(find_damage(root_ / c.name / "checkpoint-4"), "");
    for (const auto& [name, tensor] : io::load_tensors(root_ / c.name / "checkpoint-4/model.safetensors")) {
      EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
    }
    EXPECT_EQ(log_of(root_ / c.name).size(), 5u);
  }
}

/// A layer whose output overflows, with finite parameters and input.
class OverflowNet : public SmallNet {
 public:
  at::Tensor forward(const at::Tensor& images) override {
    at::NoGradGuard no_grad;
    branch->weight.fill_(1e30);
    head->weight.fill_(1e30);
    return SmallNet::forward(images);
  }
};

TEST_F(TrainerTest, TheFirstLayerThatOverflowsIsNamed) {
  TrainerParts parts = small_parts({{"max_steps", 9}});
  parts.model = std::make_shared<OverflowNet>();
  try {
    train("run", std::move(parts));
    FAIL();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("first in the output of head"), std::string::npos) << text;
    EXPECT_NE(text.find("Last good checkpoint: none was written yet"), std::string::npos) << text;
  }
}

TEST_F(TrainerTest, ANonFiniteInputIsNamed) {
  TrainerParts parts = small_parts({{"max_steps", 9}});
  data::LoaderOptions options;
  options.batch_size = 8;
  options.std = {0.0000000000000000000000000000000000000000001};  // Overflows float32.
  options.mean = {0.5};
  parts.train = std::make_shared<data::Loader>(small_data(35, 1), options);
  try {
    train("run", std::move(parts));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::numeric);
    EXPECT_NE(std::string(error.what()).find("the input (image 0 of the batch)"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace fovea::train
