// One training: learning, the best checkpoint, accumulation, numbers gone wrong.
#include <ATen/ATen.h>

#include <map>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "fovea/io/tensors.h"
#include "fovea/train/evaluate.h"
#include "tests/train/trainer_fixture.h"

namespace fovea::train {
namespace {

TEST_F(TrainerTest, LearnsAndKeepsTheBest) {
  std::vector<int64_t> steps;
  on_step_ = [&](const StepReport& report) { steps.push_back(report.step); };
  const TrainResult result = train("run", {{"epochs", 20}, {"lr", 0.01}, {"keep_checkpoints", 1}});
  EXPECT_EQ(result.step, 80);
  EXPECT_EQ(result.epochs, 20);
  EXPECT_FALSE(result.stopped);
  EXPECT_GT(result.best_top1, 90.0);
  EXPECT_GT(result.seconds, 0.0);
  EXPECT_EQ(result.last, "checkpoint-80");
  EXPECT_EQ(steps.size(), 80u);
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
