// The configuration: its layers, their order, what is refused.
#include <gtest/gtest.h>

#include "fixtures.h"

namespace fovea::cli_test {
namespace {

class Config : public ::testing::Test {
 protected:
  Config() { write_idx(work_ / "data"); }

  Ended print(const std::vector<std::string>& more) const {
    std::vector<std::string> words = {"train", "classify", "--data", "mnist:" + (work_ / "data").string(),
                                      "--print-config"};
    words.insert(words.end(), more.begin(), more.end());
    return run_fovea(words);
  }

  TemporaryFolder work_;
};

TEST_F(Config, LaterLayersWin) {
  write_text(
      work_ / "c.json",
      R"({"lr": 0.5, "epochs": 7, "batch_size": 4, "model": {"name": "resnet14", "attention_block": "se"}})");
  const auto config = print({"--model", "resnet8", "--seed", "9", "--set", "lr=0.25", "--set", "seed=8",
                             "--set", "model.attention_block=cbam", "--config", (work_ / "c.json").string()})
                          .json();
  EXPECT_EQ(config["lr"], 0.25);       // --set over --config
  EXPECT_EQ(config["epochs"], 7);      // --config over the default
  EXPECT_EQ(config["momentum"], 0.9);  // the default
  EXPECT_EQ(config["seed"], 9);        // the named flag over --set
  EXPECT_EQ(config["model"]["name"], "resnet8");
  EXPECT_EQ(config["model"]["attention_block"], "cbam");
  EXPECT_EQ(config["model"]["in_chans"], 1);  // from the data
  EXPECT_EQ(config["model"]["num_classes"], 10);
}

TEST_F(Config, PrintedConfigurationIsAccepted) {
  const auto first = print({"--model", "resnet8", "--set", "lr=0.1", "--set", "data.val_fraction=0.2"});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  write_text(work_ / "printed.json", first.out);
  const auto second =
      run_fovea({"train", "classify", "--config", (work_ / "printed.json").string(), "--print-config"});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(first.json(), second.json());
}

TEST_F(Config, UnknownKeysNameTheNearest) {
  for (const auto& [pair, nearest] :
       std::vector<std::pair<std::string, std::string>>{{"epoch=3", "'epochs'"},
                                                        {"model.num_clases=3", "'num_classes'"},
                                                        {"data.limt=3", "'limit'"},
                                                        {"modle.name=resnet8", "'model'"}}) {
    const auto ended = print({"--model", "resnet8", "--set", pair});
    EXPECT_EQ(ended.exit_code, 2) << pair;
    EXPECT_TRUE(ended.is_one_line_with({"Did you mean " + nearest})) << pair;
  }
}

TEST_F(Config, BadValuesAreRefused) {
  for (const char* pair : {"lr=fast", "lr=nan", "lr=1e999", "lr=-1", "epochs=1.5", "epochs=[1]", "lr", "=3",
                           "lr.a=1", "model.=1", "amp=fp8", "model.num_classes=-3"}) {
    const auto ended = print({"--model", "resnet8", "--set", pair});
    EXPECT_EQ(ended.exit_code, 2) << pair << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"["})) << pair;
    EXPECT_EQ(ended.out, "");
  }
}

TEST_F(Config, BadFilesAreRefused) {
  for (const char* text : {R"({"lr": 1, "lr": 2})", R"({"model": {"name": "a", "name": "b"}})",
                           R"({"lr": NaN})", R"({"lr": 1e999})", R"({"lr": 1)", "[1]", ""}) {
    write_text(work_ / "bad.json", text);
    const auto ended = print({"--model", "resnet8", "--config", (work_ / "bad.json").string()});
    EXPECT_EQ(ended.exit_code, 2) << text << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"bad.json"})) << text;
  }
  EXPECT_TRUE(
      print({"--config", (work_ / "none.json").string()}).is_one_line_with({"none.json", "--config"}));
}

TEST_F(Config, DeepTextsAndZeroBytesAreRefused) {
  std::string deep;
  for (int i = 0; i < 200000; ++i) deep += R"({"a":)";
  for (const auto& text :
       {deep, std::string(200000, '['), std::string("{\"lr\": 1}\0garbage", 18), std::string(65, '[')}) {
    write_text(work_ / "bad.json", text);
    const auto ended = print({"--model", "resnet8", "--config", (work_ / "bad.json").string()});
    EXPECT_EQ(ended.exit_code, 2) << ended.signal;
    EXPECT_TRUE(ended.is_one_line_with({"bad.json"}));
  }
  const auto set =
      print({"--model", "resnet8", "--set", "lr=" + std::string(9000, '[') + std::string(9000, ']')});
  EXPECT_EQ(set.exit_code, 2);
  EXPECT_TRUE(set.is_one_line_with({"--set lr", "64"}));
  // Brackets in a text are no levels.
  const auto text = print({"--model", "resnet8", "--set", "description=\"" + std::string(99, '[') + "\""});
  EXPECT_EQ(text.exit_code, 0) << text.err;
}

TEST_F(Config, TextsAreUtf8) {
  const auto set = print({"--model", "resnet8", "--set", "description=\xff\xfe"});
  EXPECT_EQ(set.exit_code, 2);
  EXPECT_TRUE(set.is_one_line_with({"--set", "UTF-8", "description"}));
  write_idx(work_ / "\xff");
  const auto data = run_fovea({"train", "classify", "--model", "resnet8", "--data",
                               "mnist:" + (work_ / "\xff").string(), "--print-config"});
  EXPECT_EQ(data.exit_code, 2);
  EXPECT_TRUE(data.is_one_line_with({"data.name must be UTF-8", "mnist:"}));
}

TEST_F(Config, LongValuesAreCutInMessages) {
  const auto ended = print({"--model", "resnet8", "--set", "lr=" + std::string(5000, 'x')});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"lr must be", "xxx..."}));
  EXPECT_LT(ended.err.size(), 300u);
}

TEST_F(Config, ModelAndDataMustBeNamed) {
  EXPECT_TRUE(print({}).is_one_line_with({"--model NAME", "fovea list models"}));
  const auto ended = run_fovea({"train", "classify", "--model", "resnet8"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"--data NAME", "fovea list data"}));
}

TEST_F(Config, RecipesAreComplete) {
  const auto recipes = run_fovea({"list", "recipes", "--json"}).json()["recipes"];
  ASSERT_FALSE(recipes.empty());
  for (const auto& recipe : recipes) {
    const auto ended = print({"--recipe", recipe["name"]});
    EXPECT_EQ(ended.exit_code, 0) << recipe << ended.err;
  }
}

TEST_F(Config, DryRunEstimates) {
  const auto ended =
      run_fovea({"train", "classify", "--model", "resnet20", "--data", "mnist:" + (work_ / "data").string(),
                 "--set", "batch_size=4", "--dry-run", "--json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const auto estimate = ended.json();
  const auto summary =
      run_fovea({"summary", "resnet20", "--input", "1x28x28", "--set", "num_classes=10", "--json"}).json();
  EXPECT_EQ(estimate["parameters"], summary["parameters"]);
  EXPECT_EQ(estimate["multiply_adds"], summary["multiply_adds"]);
  EXPECT_EQ(estimate["activation_bytes"], 4 * summary["activation_bytes"].get<int64_t>());
  EXPECT_EQ(estimate["memory_bytes"],
            estimate["state_bytes"].get<int64_t>() + estimate["activation_bytes"].get<int64_t>());
}

}  // namespace
}  // namespace fovea::cli_test
