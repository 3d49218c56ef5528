// The classify task: what it takes from the data, and that its checkpoints need nothing else.
#include "fovea/tasks/classify.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "fovea/core/error.h"
#include "fovea/core/random.h"
#include "fovea/data/image_tensor.h"
#include "fovea/data/open.h"
#include "fovea/io/file.h"
#include "fovea/io/image.h"
#include "fovea/tasks/recipes.h"
#include "fovea/train/checkpoint.h"
#include "fovea/train/evaluate.h"
#include "fovea/train/log.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

namespace fovea::tasks {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string big_endian(uint32_t value) {
  return {static_cast<char>(value >> 24), static_cast<char>(value >> 16), static_cast<char>(value >> 8),
          static_cast<char>(value)};
}

/// `count` images of 28 x 28 in MNIST's form: class c is noise with a bright band at row 2c.
void write_idx(const fs::path& folder, const std::string& part, uint32_t count) {
  std::string images = big_endian(0x803) + big_endian(count) + big_endian(28) + big_endian(28);
  std::string labels = big_endian(0x801) + big_endian(count);
  for (uint32_t i = 0; i < count; ++i) {
    Random random(part == "train" ? 1 : 2, 0, i);
    const uint32_t label = i % 10;
    labels += static_cast<char>(label);
    for (uint32_t p = 0; p < 784; ++p) {
      const bool band = p / 28 / 2 == label;
      images += static_cast<char>(random.below(100) + (band ? 150 : 0));
    }
  }
  std::ofstream(folder / (part + "-images-idx3-ubyte"), std::ios::binary) << images;
  std::ofstream(folder / (part + "-labels-idx1-ubyte"), std::ios::binary) << labels;
}

class ClassifyTest : public testing::Test {
 protected:
  void SetUp() override {
    write_idx(folder_.path(), "train", 240);
    write_idx(folder_.path(), "t10k", 60);
  }

  std::string data() const { return "fashion_mnist:" + folder_.path().string(); }

  json config(const json& changes = json::object()) const {
    json c = {{"model", {{"name", "fashion_vit"}, {"depth", 1}, {"embed_dim", 24}}},
              {"data", {{"name", data()}, {"val_fraction", 0.25}}},
              {"batch_size", 20},
              {"epochs", 4},
              {"lr", 0.005},
              {"threads", 1}};
    c.merge_patch(changes);
    return c;
  }

  io::ScratchFolder folder_;
};

TEST_F(ClassifyTest, TheDataFillWhatIsNotSet) {
  const json c = resolve_classify(config());
  EXPECT_EQ(c["task"], "classify");
  EXPECT_EQ(c["model"]["num_classes"], 10);
  EXPECT_EQ(c["model"]["in_chans"], 1);
  EXPECT_EQ(c["model"]["img_size"], 28);
  EXPECT_EQ(c["class_names"].size(), 10u);
  EXPECT_EQ(c["class_names"][9], "Ankle boot");
  EXPECT_EQ(c["preprocessing"]["height"], 28);
  EXPECT_EQ(c["preprocessing"]["mean"].size(), 1u);
  EXPECT_EQ(c["data"]["transform"].size(), 1u);
  EXPECT_EQ(c["epochs"], 4);
  EXPECT_EQ(c["momentum"], 0.9);
  EXPECT_EQ(resolve_classify(c), c) << "what --print-config shows is itself a configuration";
  const json wide =
      resolve_classify(config({{"model", {{"num_classes", 10}}}, {"data", {{"img_size", 32}}}}));
  EXPECT_EQ(wide["model"]["img_size"], 32);
}

TEST_F(ClassifyTest, UnknownKeysNameTheNearest) {
  const auto text = [&](const json& changes) {
    return message_of(ErrorKind::usage, [&] { resolve_classify(config(changes)); });
  };
  EXPECT_NE(text({{"lerning_rate", 1}, {"epoch", 3}}).find("epochs"), std::string::npos);
  EXPECT_NE(text({{"data", {{"worker", 3}}}}).find("workers"), std::string::npos);
  EXPECT_NE(text({{"model", {{"dept", 3}}}}).find("depth"), std::string::npos);
  EXPECT_NE(text({{"model", {{"name", "fashion_vitt"}}}}).find("fashion_vit"), std::string::npos);
  EXPECT_NE(text({{"optimizer", "adamx"}}).find("sgd, adam, adamw"), std::string::npos);
  EXPECT_NE(text({{"batch_size", 0}}).find("at least 1"), std::string::npos);
  EXPECT_NE(text({{"lr", "high"}}).find("a number"), std::string::npos);
  EXPECT_NE(text({{"warmup_steps", 3}, {"warmup_fraction", 0.1}}).find("exclude"), std::string::npos);
  EXPECT_NE(text({{"task", "detect"}}).find("classify"), std::string::npos);
}

TEST_F(ClassifyTest, ValuesAreRefusedBeforeTheyAreConverted) {
  const auto text = [&](const json& changes) {
    return message_of(ErrorKind::usage, [&] { resolve_classify(config(changes)); });
  };
  EXPECT_NE(text({{"data", {{"limit", 1.5}}}}).find("data.limit must be a whole number"), std::string::npos);
  EXPECT_NE(text({{"data", {{"workers", true}}}}).find("a whole number"), std::string::npos);
  EXPECT_NE(text({{"data", {{"limit", 1e30}}}}).find("a whole number"), std::string::npos);
  EXPECT_NE(text({{"data", {{"limit", 18446744073709551615ULL}}}}).find("at most"), std::string::npos);
  EXPECT_NE(text({{"data", {{"workers", 4294967297}}}}).find("at most 256"), std::string::npos);
  EXPECT_NE(text({{"data", {{"split_seed", -1}}}}).find("at least 0"), std::string::npos);
  EXPECT_NE(text({{"data", {{"mean", {0.5}}, {"std", {0.0}}}}}).find("data.std"), std::string::npos);
  EXPECT_NE(text({{"batch_size", 1e20}}).find("an integer"), std::string::npos);
  EXPECT_NE(text({{"batch_size", 10000000000000000}}).find("at most"), std::string::npos);
  EXPECT_NE(text({{"model", {{"depth", 18446744073709551615ULL}}}}).find("below 2^63"), std::string::npos);
}

TEST_F(ClassifyTest, AModelThatContradictsTheDataIsRefusedBeforeAFileIsWritten) {
  for (const json& model : {json{{"num_classes", 12}}, json{{"in_chans", 3}}, json{{"img_size", {28, 32}}}}) {
    ClassifyRun run;
    run.config = config({{"model", model}});
    run.output = folder_ / "run";
    const std::string text = message_of(ErrorKind::usage, [&] { train_classify(run); });
    EXPECT_NE(text.find("model." + model.begin().key()), std::string::npos) << text;
    EXPECT_FALSE(fs::exists(run.output));
  }
  const std::string text = message_of(ErrorKind::usage, [&] {
    resolve_classify(config({{"model", {{"img_size", 28}}}, {"data", {{"img_size", 32}}}}));
  });
  EXPECT_NE(text.find("data.img_size"), std::string::npos) << text;
  EXPECT_EQ(resolve_classify(config({{"model", {{"img_size", 32}}}}))["preprocessing"]["height"], 32);
}

TEST_F(ClassifyTest, ACropThatTheNetworkCannotTakeIsRefusedBeforeAFileIsWritten) {
  const json crop = json::array({{{"random_crop", {{"size", 24}}}}});
  ClassifyRun run;
  run.config = config({{"data", {{"transform", crop}}}});
  run.output = folder_ / "run";
  const std::string text = message_of(ErrorKind::usage, [&] { train_classify(run); });
  EXPECT_NE(text.find("img_size, 28 x 28; found 24 x 24"), std::string::npos) << text;
  EXPECT_FALSE(fs::exists(run.output));
  // A network without a size of its own may train on smaller images than it is tested on.
  run.config = {{"model", {{"name", "resnet8"}}},
                {"data", {{"name", data()}, {"transform", crop}}},
                {"max_steps", 1},
                {"batch_size", 20}};
  EXPECT_EQ(train_classify(run).step, 1);
}

TEST_F(ClassifyTest, RefusalsSayWhatToWrite) {
  const auto text = [&](const json& changes) {
    return message_of(ErrorKind::usage, [&] { resolve_classify(config(changes)); });
  };
  EXPECT_EQ(text({{"lr", "high"}}), "[config] lr must be a number; found \"high\". Write one, as lr=0.001.");
  EXPECT_NE(text({{"nesterov", true}, {"momentum", 0}}).find("found adamw and 0. Set"), std::string::npos);
}

TEST_F(ClassifyTest, OneClassIsRefused) {
  fs::create_directories(folder_ / "images/only");
  for (int i = 0; i < 4; ++i) {
    io::write_png(folder_ / "images/only" / (std::to_string(i) + ".png"),
                  {8, 8, 3, std::vector<uint8_t>(192, static_cast<uint8_t>(i))});
  }
  const json data = {{"name", "folder:" + (folder_ / "images").string()}, {"val_fraction", 0}};
  const std::string text = message_of(ErrorKind::data, [&] {
    resolve_classify(config({{"data", data}, {"model", {{"img_size", 28}}}}));
  });
  EXPECT_NE(text.find("two classes; found 1"), std::string::npos) << text;
}

TEST_F(ClassifyTest, AConfigurationThatDoesNotFitNamesItsFile) {
  ClassifyRun run;
  run.config = config({{"max_steps", 1}});
  run.output = folder_ / "run";
  const train::TrainResult result = train_classify(run);
  fs::create_directories(folder_ / "alone");
  const fs::path weights = folder_ / "alone/model.safetensors", file = folder_ / "alone/config.json";
  fs::copy(run.output / result.last / "model.safetensors", weights);
  const json sound = json::parse(io::read_file(run.output / "config.json"));
  const auto refusal = [&](const std::string& text) {
    std::ofstream(file) << text;
    const std::string message = message_of(ErrorKind::model_file, [&] { load_classifier(weights); });
    EXPECT_NE(message.find(file.string()), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  };
  const auto changed = [&](const char* place, const json& value) {
    json bad = sound;
    bad[json::json_pointer(place)] = value;
    return refusal(bad.dump());
  };
  EXPECT_NE(changed("/class_names", {"a", "b"}).find("10 classes"), std::string::npos);
  EXPECT_NE(changed("/class_names", {1, 2}).find("texts"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/channels", 2).find("channels"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/channels", 1.5).find("whole number"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/height", 0).find("height"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/width", 1000000).find("width"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/mean", {0.5, 0.5}).find("mean"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/std", {0.0}).find("above 0"), std::string::npos);
  EXPECT_NE(changed("/preprocessing/std", {"x"}).find("std"), std::string::npos);
  EXPECT_NE(changed("/preprocessing", 3).find("object"), std::string::npos);
  EXPECT_NE(changed("/data", 3).find("'data'"), std::string::npos);
  EXPECT_NE(changed("/model/name", 3).find("model.name"), std::string::npos);
  EXPECT_NE(changed("/model/depth", "x").find("depth"), std::string::npos);
  EXPECT_NE(changed("/model/in_chans", 3).find("in_chans"), std::string::npos);
  EXPECT_NE(refusal(std::string(100000, '[')).find("64"), std::string::npos);
  EXPECT_NE(refusal(sound.dump() + std::string("\0x", 2)).find("zero"), std::string::npos);
}

TEST_F(ClassifyTest, OtherClassesAreNotMeasured) {
  ClassifyRun run;
  run.config = config({{"max_steps", 1}});
  run.output = folder_ / "run";
  train_classify(run);
  const Classifier classifier = load_classifier(run.output);
  const std::string text = message_of(ErrorKind::data, [&] {
    evaluate_classifier(classifier, "mnist:" + folder_.path().string(), Split::test);
  });
  EXPECT_NE(text.find("class 0 of the network is 'T-shirt/top'"), std::string::npos) << text;
  EXPECT_NE(text.find("--data"), std::string::npos) << text;
}

TEST_F(ClassifyTest, AVeryThinImageIsRefused) {
  Classifier classifier;
  classifier.preprocessing = {3, 224, 224, {0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}};
  message_of(ErrorKind::data, [&] { to_input(classifier, at::zeros({3, 1, 100000}, at::kByte)); });
  EXPECT_EQ(to_input(classifier, at::zeros({3, 10, 1000}, at::kByte)).size(3), 224);
}

TEST_F(ClassifyTest, ACheckpointNeedsNothingElse) {
  ClassifyRun run;
  run.config = config({{"ema_decay", 0.9}});
  run.output = folder_ / "run";
  const train::TrainResult result = train_classify(run);
  EXPECT_GT(result.best_top1, 50.0);
  const Classifier classifier = load_classifier(run.output);
  EXPECT_FALSE(classifier.model->is_training());
  EXPECT_EQ(classifier.class_names.size(), 10u);
  EXPECT_EQ(classifier.weights, run.output / result.best / "model.safetensors");
  const train::ClassificationMetrics val = evaluate_classifier(classifier, "", Split::val);
  EXPECT_EQ(val.n, 60);
  EXPECT_DOUBLE_EQ(val.top1, result.best_top1);
  const train::ClassificationMetrics test = evaluate_classifier(classifier, data(), Split::test);
  EXPECT_EQ(test.n, 60);
  EXPECT_GT(test.top1, 50.0);
  EXPECT_GT(test.roc_auc, 0.5);

  // One image alone gives what it gives in a batch of the evaluation.
  data::DataOptions options;
  options.name = data();
  const auto images = data::open_data(options).test;
  int64_t right = 0;
  for (int64_t i = 0; i < images->size(); ++i) {
    const data::Sample sample = images->get(i);
    const at::Tensor input = to_input(classifier, data::tensor_to_image(sample.image));
    const at::Tensor probabilities = train::predict(*classifier.model, input);
    EXPECT_NEAR(probabilities.sum().item<double>(), 1.0, 1e-5);
    right += probabilities.argmax(1).item<int64_t>() == sample.label ? 1 : 0;
  }
  EXPECT_NEAR(100.0 * static_cast<double>(right) / 60, test.top1, 1e-9);

  // Another size and colour come to the network's.
  const at::Tensor colour = at::full({3, 56, 60}, 128, at::kByte);
  EXPECT_EQ(to_input(classifier, colour).sizes(), at::IntArrayRef({1, 1, 28, 28}));
}

TEST_F(ClassifyTest, AWrongCheckpointNamesKeys) {
  ClassifyRun run;
  run.config = config({{"max_steps", 2}});
  run.output = folder_ / "run";
  const train::TrainResult result = train_classify(run);
  const fs::path alone = folder_ / "alone";
  fs::create_directories(alone);
  fs::copy(run.output / result.last / "model.safetensors", alone / "model.safetensors");
  message_of(ErrorKind::model_file, [&] { load_classifier(alone / "model.safetensors"); });
  json other = json::parse(io::read_file(run.output / "config.json"));
  std::ofstream(alone / "config.json") << other.dump();
  EXPECT_EQ(load_classifier(alone / "model.safetensors").class_names.size(), 10u);
  EXPECT_EQ(load_classifier(alone).class_names.size(), 10u);
  other["model"]["depth"] = 2;
  std::ofstream(alone / "config.json") << other.dump();
  const std::string text =
      message_of(ErrorKind::model_file, [&] { load_classifier(alone / "model.safetensors"); });
  EXPECT_NE(text.find("blocks.1."), std::string::npos) << text;
  std::ofstream(alone / "config.json") << "{}";
  message_of(ErrorKind::model_file, [&] { load_classifier(alone / "model.safetensors"); });
}

TEST_F(ClassifyTest, ResumeGoesOnAndRefusesAnotherModel) {
  ClassifyRun run;
  run.config = config({{"max_steps", 3}});
  run.output = folder_ / "run";
  train_classify(run);
  message_of(ErrorKind::usage, [&] { train_classify(run); });
  run.resume = true;
  run.config = config({{"max_steps", 5}, {"data", {{"workers", 0}}}});
  EXPECT_EQ(train_classify(run).step, 5);
  run.config = config({{"max_steps", 7}, {"model", {{"mlp_ratio", 3}}}});
  const std::string text = message_of(ErrorKind::usage, [&] { train_classify(run); });
  EXPECT_NE(text.find("model.mlp_ratio"), std::string::npos) << text;
}

TEST_F(ClassifyTest, ProgressOfAnotherTypeIsABadCheckpoint) {
  ClassifyRun run;
  run.config = config({{"max_steps", 1}});
  run.output = folder_ / "run";
  const train::TrainResult result = train_classify(run);
  train::Checkpoint checkpoint = train::read_checkpoint(run.output / result.last);
  checkpoint.progress["best_top1"] = "high";
  train::write_checkpoint(run.output, checkpoint);
  run.resume = true;
  run.config = config({{"max_steps", 2}});
  const std::string text = message_of(ErrorKind::model_file, [&] { train_classify(run); });
  EXPECT_NE(text.find("high"), std::string::npos) << text;
}

TEST_F(ClassifyTest, EveryRecipeResolves) {
  std::vector<std::string> names;
  for (const Recipe& recipe : recipes()) {
    names.push_back(recipe.name);
    EXPECT_FALSE(recipe.summary.empty()) << recipe.name;
    json c = recipe_config(recipe.name);
    c["data"]["name"] = data();
    const json full = resolve_classify(c);
    EXPECT_EQ(full["model"]["num_classes"], 10) << recipe.name;
  }
  for (const char* name : {"demo_se_resnet", "demo_vit", "fashion_se_resnet_full", "fashion_vit_full"}) {
    EXPECT_NE(std::find(names.begin(), names.end(), name), names.end()) << name;
  }
  const std::string text = message_of(ErrorKind::usage, [] { recipe_config("demo_vits"); });
  EXPECT_NE(text.find("demo_vit"), std::string::npos) << text;
}

}  // namespace
}  // namespace fovea::tasks
