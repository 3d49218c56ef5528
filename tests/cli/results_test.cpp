// What the commands give when all is well.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "fixtures.h"
#include "fovea/io/image.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

TEST(Summary, CountsAsTorchvisionDoes) {
  const auto ended = run_fovea({"summary", "resnet34", "--input", "3x224x224", "--json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const auto summary = ended.json();
  EXPECT_EQ(summary["parameters"], 21797672);
  EXPECT_EQ(summary["trainable"], 21797672);
  EXPECT_NEAR(summary["multiply_adds"].get<double>(), 3.66e9, 0.02e9);
  EXPECT_GT(summary["activation_bytes"], 0);
  int64_t parameters = 0;
  for (const auto& layer : summary["layers"]) parameters += layer["parameters"].get<int64_t>();
  EXPECT_EQ(parameters, summary["parameters"]);
  EXPECT_NE(run_fovea({"summary", "resnet34"}).out.find("21,797,672 parameters"), std::string::npos);
}

TEST(Summary, InputSizesReachTheModel) {
  const auto small =
      run_fovea({"summary", "vit_tiny", "--input", "1x112x112", "--set", "num_classes=7", "--json"});
  ASSERT_EQ(small.exit_code, 0) << small.err;
  EXPECT_EQ(small.json()["input"], (std::vector<int64_t>{1, 1, 112, 112}));
  const auto bad = run_fovea({"summary", "vit_tiny", "--input", "3x224xx"});
  EXPECT_EQ(bad.exit_code, 2);
  EXPECT_TRUE(bad.is_one_line_with({"--input", "3x224xx"}));
}

TEST(Bench, TimesTheAttentionKernel) {
  const auto ended = run_fovea(
      {"bench", "attend", "--case", "swin_fp32_fwdbwd", "--case", "vit_bf16_fwd", "--rounds", "3", "--json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const auto report = ended.json();
  EXPECT_EQ(report["threads"], 1);
  ASSERT_EQ(report["cases"].size(), 2u);
  for (const auto& row : report["cases"]) {
    EXPECT_EQ(row["runs"], 3);
    EXPECT_GT(row["best_cpu_ms"], 0);
    EXPECT_LE(row["best_ms"], row["median_ms"]);
    EXPECT_NEAR(row["gflops"].get<double>(),
                row["flops"].get<double>() / row["best_cpu_ms"].get<double>() / 1e6, 1e-3);
    EXPECT_GT(row["share_of_peak"], 0.01);
    EXPECT_LT(row["share_of_peak"], 1.0);
  }
  EXPECT_TRUE(run_fovea({"bench", "attend", "--case", "fool_fp32_fwd"})
                  .is_one_line_with({"--case", "full_fp32_fwd"}));
}

TEST(Bench, ErrorOfApproximations) {
  const TemporaryFolder work;
  const auto chart = work / "error.svg";
  const std::string mechanism = "performer:features={budget},seed={seed}";
  const auto ended = run_fovea({"bench", "approximation", "--length", "200", "--seeds", "2", "--mechanism",
                                mechanism, "--output", chart.string(), "--json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const auto points = ended.json()["lines"][0]["points"];
  ASSERT_EQ(points.size(), 4u);  // a budget is at most the length
  EXPECT_LT(points[3]["error"], points[0]["error"]);
  EXPECT_GT(points[0]["deviation"], 0);
  EXPECT_GT(points[3]["share_of_exact"], points[0]["share_of_exact"]);
  EXPECT_NE(read_text(chart).find("performer"), std::string::npos);
  EXPECT_TRUE(
      run_fovea({"bench", "approximation", "--mechanism", "performer"}).is_one_line_with({"{budget}"}));
  EXPECT_TRUE(run_fovea({"bench", "approximation", "--image", "x.png"}).is_one_line_with({"--checkpoint"}));
}

TEST(Bench, ApproximationsTakeBudgets) {
  const auto lines = [](const std::vector<std::string>& more) {
    std::vector<std::string> words = {"bench", "approximation", "--seeds", "1", "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return ended.json()["lines"];
  };
  const auto budgets = [](const nlohmann::json& line) {
    std::vector<int64_t> found;
    for (const auto& point : line["points"]) found.push_back(point["budget"]);
    return found;
  };
  const auto two = lines({"--length", "64", "--budget", "3", "--budget", "100", "--mechanism",
                          "softmax:window={budget}", "--mechanism", "softmax:window_left={budget}"});
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(budgets(two[0]), (std::vector<int64_t>{3, 100}));
  EXPECT_GT(two[0]["points"][0]["error"], 0.1);
  EXPECT_LT(two[0]["points"][1]["error"], 2e-5);
  EXPECT_EQ(two[0]["name"], "softmax");
  EXPECT_EQ(two[1]["name"], "softmax:window_left={budget}");
  // No line is without a point, however few the positions.
  const auto few = lines({"--length", "5"});
  ASSERT_EQ(few.size(), 6u);
  for (const auto& line : few) EXPECT_FALSE(line["points"].empty()) << line;
  EXPECT_EQ(budgets(few[0]), std::vector<int64_t>{5});
  EXPECT_EQ(budgets(few[3]), (std::vector<int64_t>{1, 2, 4}));
  const auto refused = [](const std::string& mechanism, const std::string& budget, const std::string& part) {
    const auto ended =
        run_fovea({"bench", "approximation", "--length", "64", "--mechanism", mechanism, "--budget", budget});
    EXPECT_EQ(ended.exit_code, 2);
    EXPECT_TRUE(ended.is_one_line_with({part})) << ended.err;
  };
  refused("softmax:window={budget}", "4x", "--budget takes a whole number of at least 0; found '4x'");
  refused("performer:features={budget}", "0", "features must be a whole number from 1; found '0'");
  refused("linformer:rank={budget}", "8", "found linformer, which learns E, F.");
}

// Everything that follows a training, once: a training costs more than a look at its results.
TEST(Flow, TrainEvalPredictExplainReport) {
  // Spaces and letters beyond ASCII in every path.
  const TemporaryFolder work("läuft gut 走る");
  write_idx(work / "data set");
  const auto trained = run_fovea(
      training(work / "data set", work / "run 1", {"--set", "max_steps=14", "--set", "lr=0.02", "--json"}),
      {.environment = {"LC_ALL=de_DE.UTF-8", "LANG=de_DE.UTF-8"}});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto result = trained.json();
  EXPECT_EQ(result["step"], 14);
  EXPECT_EQ(result["stopped"], false);
  EXPECT_GT(result["seconds"], 0);
  const std::string run = (work / "run 1").string();
  for (const char* name : {"config.json", "metrics.jsonl", "last", "best"})
    EXPECT_TRUE(fs::exists(work / "run 1" / name));
  EXPECT_TRUE(fs::exists(work / "run 1" / result["best"].get<std::string>() / "model.safetensors"));

  const auto evaluated = run_fovea({"eval", run, "--json"});
  ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
  const auto metrics = evaluated.json();
  EXPECT_EQ(metrics["n"], 20);
  EXPECT_GE(metrics["top1"], 0);
  EXPECT_LE(metrics["top1"], metrics["top5"]);
  EXPECT_LE(metrics["top5"], 100);
  EXPECT_TRUE(std::isfinite(metrics["loss"].get<double>()));
  EXPECT_EQ(metrics["confusion"].size(), 10u);
  EXPECT_EQ(metrics["class_names"].size(), 10u);
  const auto named = run_fovea(
      {"eval", run, "--data", "mnist:" + (work / "data set").string(), "--split", "test", "--json"});
  EXPECT_EQ(named.json()["top1"], metrics["top1"]);
  EXPECT_EQ(run_fovea({"eval", run, "--split", "val", "--json"}).json()["n"], 5);

  write_picture(work / "größer.png", 3, 61, 3);
  write_picture(work / "grey.png", 2, 28, 1);
  const auto predicted = run_fovea(
      {"predict", run, (work / "größer.png").string(), (work / "grey.png").string(), "--top", "3", "--json"});
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  const auto images = predicted.json()["images"];
  ASSERT_EQ(images.size(), 2u);
  for (const auto& image : images) {
    ASSERT_EQ(image["predictions"].size(), 3u);
    EXPECT_GE(image["predictions"][0]["probability"], image["predictions"][1]["probability"]);
    EXPECT_FALSE(image["predictions"][0]["class"].get<std::string>().empty());
  }

  const auto explained = run_fovea({"explain", run, (work / "größer.png").string(), "--method", "gradcam",
                                    "--target", "3", "--output", (work / "maps out").string(), "--json"});
  ASSERT_EQ(explained.exit_code, 0) << explained.err;
  EXPECT_TRUE(fs::exists(work / "maps out/001-größer-gradcam.png"));
  const std::string page = read_text(work / "maps out/index.html");
  EXPECT_NE(page.find("größer.png"), std::string::npos);
  EXPECT_EQ(page.find("http://"), page.find("http://www.w3.org"));

  const auto reported =
      run_fovea({"report", run, "--output", (work / "page").string(), "--images", "4", "--json"});
  ASSERT_EQ(reported.exit_code, 0) << reported.err;
  EXPECT_EQ(reported.json()["models"][0]["top1"], metrics["top1"]);
  const std::string report = read_text(work / "page/index.html");
  EXPECT_NE(report.find("<svg"), std::string::npos);
  EXPECT_NE(report.find(" s</td>"), std::string::npos) << "the seconds of training are missing";
  const std::string set = "the test part of mnist:" + (work / "data set").string();
  EXPECT_NE(report.find(set + ", on which no choice"), std::string::npos);
  EXPECT_EQ(reported.json()["models"][0]["data"], "mnist:" + (work / "data set").string());
  EXPECT_NE(run_fovea({"eval", run}).out.find("20 images, " + set), std::string::npos);
  write_idx(work / "other", 60, 30);
  const auto other = run_fovea({"report", run, "--output", (work / "page").string(), "--images", "4",
                                "--data", "mnist:" + (work / "other").string()});
  ASSERT_EQ(other.exit_code, 0) << other.err;
  const std::string of_other = read_text(work / "page/index.html");
  EXPECT_EQ(of_other.find("no choice of the training"), std::string::npos);
  EXPECT_NE(of_other.find("mnist:" + (work / "other").string() + ", given with --data"), std::string::npos);
}

TEST(Flow, AFolderOfImages) {
  const TemporaryFolder work;
  write_image_folder(work / "images", 10);
  const std::string run = (work / "run").string();
  const auto trained =
      run_fovea({"train", "classify", "--model", "resnet8", "--data", "folder:" + (work / "images").string(),
                 "--set", "data.img_size=16", "--set", "data.val_fraction=0.2", "--set", "batch_size=8",
                 "--set", "max_steps=2", "--output", run});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto predicted = run_fovea({"predict", run, (work / "images/stripes/0.png").string(), "--json"});
  ASSERT_EQ(predicted.exit_code, 0) << predicted.err;
  EXPECT_EQ(predicted.json()["images"][0]["predictions"].size(), 2u);
  // A folder has no test part, and says how to go on.
  const auto evaluated = run_fovea({"eval", run});
  EXPECT_EQ(evaluated.exit_code, 3);
  EXPECT_TRUE(evaluated.is_one_line_with({"must have a test part", "--split"}));
  const auto reported = run_fovea({"report", run, "--output", (work / "page").string()});
  EXPECT_EQ(reported.exit_code, 3);
  EXPECT_NE(reported.err.find("must have a test part"), std::string::npos) << reported.err;
  const auto validated = run_fovea({"eval", run, "--split", "val", "--json"});
  ASSERT_EQ(validated.exit_code, 0) << validated.err;
  EXPECT_EQ(validated.json()["top5"], 100);
  EXPECT_EQ(validated.json()["data"], "folder:" + (work / "images").string());
  const std::string text = run_fovea({"eval", run, "--split", "val"}).out;
  EXPECT_NE(text.find("the val part of folder:" + (work / "images").string()), std::string::npos) << text;
  EXPECT_EQ(text.find("top-5"), std::string::npos) << "top-5 of two classes: " << text;
  EXPECT_EQ(trained.err.find("top-5"), std::string::npos) << trained.err;
}

TEST(Flow, ARelativeFolderIsFoundFromElsewhere) {
  const TemporaryFolder work;
  write_image_folder(work / "here/images", 10);
  fs::create_directories(work / "there");
  const auto in = [&](const std::string& folder) {
    return CallOptions{.shell = "cd '" + (work / folder).string() + "' && exec \"$@\""};
  };
  const auto trained =
      run_fovea({"train", "classify", "--model", "resnet8", "--data", "folder:images", "--set",
                 "data.img_size=16", "--set", "data.val_fraction=0.2", "--set", "batch_size=8", "--set",
                 "max_steps=1", "--output", (work / "run").string()},
                in("here"));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const auto evaluated = run_fovea({"eval", (work / "run").string(), "--split", "val"}, in("there"));
  EXPECT_EQ(evaluated.exit_code, 0) << evaluated.err;
}

TEST(Explain, OldPicturesDoNotStandBesideANewPage) {
  const TemporaryFolder work;
  write_idx(work / "data");
  train_tiny(work / "data", work / "run");
  const auto explain = [&](const std::vector<std::string>& names) {
    std::vector<std::string> words = {"explain", (work / "run").string(), "--output",
                                      (work / "out").string()};
    for (const auto& name : names) {
      write_picture(work / name, 1, 28);
      words.push_back((work / name).string());
    }
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
  };
  explain({"a.png", "line\nbreak.png"});
  EXPECT_TRUE(fs::exists(work / "out/001-a-gradcam.png"));
  write_text(work / "out/mine.png", "mine");
  explain({"c.png"});
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(work / "out")) left.push_back(entry.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left,
            (std::vector<std::string>{".fovea-pictures", "001-c-gradcam.png", "index.html", "mine.png"}));
}

TEST(Explain, AHostileListRemovesPicturesOfItsFolderOnly) {
  const TemporaryFolder work;
  write_idx(work / "data");
  train_tiny(work / "data", work / "run");
  write_picture(work / "a.png", 1, 28);
  write_text(work / "out/notes.txt", "mine");
  write_text(work / "out/.fovea-pictures",
             std::string("../a.png\0notes.txt\0../run\0", 8 + 1 + 9 + 1 + 6 + 1) + (work / "a.png").string() +
                 std::string(1, '\0'));
  const auto ended = run_fovea(
      {"explain", (work / "run").string(), (work / "a.png").string(), "--output", (work / "out").string()});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(fs::exists(work / "out/notes.txt"));
  EXPECT_TRUE(fs::exists(work / "a.png"));
}

TEST(Run, ListInputsSaysWhatIsWanted) {
  const auto ended = run_fovea({"run", "model", "vit_tiny", "--list-inputs", "--json"});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const auto inputs = ended.json()["inputs"];
  ASSERT_EQ(inputs.size(), 1u);
  EXPECT_EQ(inputs[0]["name"], "input");
  EXPECT_EQ(inputs[0]["shape"], (std::vector<int64_t>{1, 3, 224, 224}));
  const auto missing = run_fovea({"run", "model", "vit_tiny"});
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_TRUE(missing.is_one_line_with({"--weights"}));
}

TEST(Images, MayHaveUnusualNames) {
  const TemporaryFolder work;
  write_idx(work / "data");
  train_tiny(work / "data", work / "run");
  const std::string run = (work / "run").string();
  const auto picture = [&](const std::string& name) {
    write_picture(work / name, 1, 28);
    return (work / name).string();
  };
  const auto json = run_fovea({"predict", run, picture("\xff\xfe.png"), "--json"});
  EXPECT_EQ(json.exit_code, 0) << json.err;
  EXPECT_EQ(json.json()["images"][0]["predictions"].size(), 5u);
  const auto text = run_fovea({"predict", run, picture("a\n\x1b[31m.png")});
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), 6) << text.out;
  EXPECT_EQ(text.out.find('\x1b'), std::string::npos);
  std::string long_name;
  while (long_name.size() < 245) long_name += "\xc3\xa4";
  const auto maps =
      run_fovea({"explain", run, picture(long_name + ".png"), "--output", (work / "out").string(), "--json"});
  EXPECT_EQ(maps.exit_code, 0) << maps.err;
  EXPECT_TRUE(fs::exists(maps.json()["images"][0]["maps"][0]["picture"].get<std::string>()));
}

TEST(Images, ATooThinOneIsRefusedByName) {
  const TemporaryFolder work;
  write_image_folder(work / "images", 12);
  ASSERT_EQ(run_fovea({"train", "classify", "--model", "resnet8", "--data",
                       "folder:" + (work / "images").string(), "--set", "data.img_size=64", "--set",
                       "batch_size=8", "--set", "max_steps=1", "--output", (work / "run").string()})
                .exit_code,
            0);
  io::write_png(work / "thin.png", {90000, 1, 3, std::vector<uint8_t>(270000, 9)});
  const auto ended = run_fovea({"predict", (work / "run").string(), (work / "thin.png").string()});
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_TRUE(ended.is_one_line_with({"thin.png", "90000"}));
}

}  // namespace
}  // namespace fovea::cli_test
