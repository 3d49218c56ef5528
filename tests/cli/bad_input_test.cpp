// Bad input: one clear line, the right exit code, nothing lost, no half-written file.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cmath>

#include "fixtures.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

class BadData : public ::testing::Test {
 protected:
  Ended train(const std::string& data, const std::vector<std::string>& more = {}) const {
    auto words = training(work_ / data, work_ / "run", {"--set", "max_steps=2"});
    words.insert(words.end(), more.begin(), more.end());
    return run_fovea(words);
  }

  TemporaryFolder work_;
};

TEST_F(BadData, MissingDataNameThePath) {
  const auto ended = train("nowhere");
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_TRUE(ended.is_one_line_with({(work_ / "nowhere").string()}));
  EXPECT_FALSE(fs::exists(work_ / "run"));
}

TEST_F(BadData, TruncatedGzip) {
  write_idx(work_ / "data");
  const fs::path images = work_ / "data/train-images-idx3-ubyte";
  const fs::path packed = images.string() + ".gz";
  gzFile file = gzopen(packed.c_str(), "wb");
  const std::string bytes = read_text(images);
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  fs::remove(images);
  EXPECT_EQ(train("data").exit_code, 0);
  fs::remove_all(work_ / "run");
  fs::resize_file(packed, fs::file_size(packed) / 2);
  const auto ended = train("data");
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_TRUE(ended.is_one_line_with({packed.filename().string()}));
  EXPECT_FALSE(fs::exists(work_ / "run"));
}

TEST_F(BadData, TruncatedIdx) {
  write_idx(work_ / "data");
  fs::resize_file(work_ / "data/train-images-idx3-ubyte", 1000);
  const auto ended = train("data");
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_TRUE(ended.is_one_line_with({"train-images-idx3-ubyte"}));
}

TEST_F(BadData, ATextFileInAFolderOfImages) {
  write_image_folder(work_ / "images", 12);
  write_text(work_ / "images/stripes/3.png", "not an image\n");
  const auto ended =
      run_fovea({"train", "classify", "--model", "resnet8", "--data", "folder:" + (work_ / "images").string(),
                 "--set", "data.img_size=16", "--set", "batch_size=8", "--set", "epochs=1", "--set",
                 "data.val_fraction=0", "--output", (work_ / "run").string()});
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_NE(ended.err.find("3.png"), std::string::npos) << ended.err;
}

TEST_F(BadData, AClassWhoseNameIsNotUtf8) {
  write_image_folder(work_ / "images", 12);
  fs::rename(work_ / "images/stripes", work_ / "images/\xff\xfe");
  const auto ended =
      run_fovea({"train", "classify", "--model", "resnet8", "--data", "folder:" + (work_ / "images").string(),
                 "--set", "data.img_size=16", "--output", (work_ / "run").string()});
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_TRUE(ended.is_one_line_with({"name of a class must be UTF-8", "found '", "Rename"}));
  EXPECT_FALSE(fs::exists(work_ / "run"));
}

TEST_F(BadData, AFolderWithoutCheckpoint) {
  fs::create_directories(work_ / "photos");
  const auto ended = run_fovea({"eval", (work_ / "photos").string()});
  EXPECT_EQ(ended.exit_code, 4);
  EXPECT_TRUE(ended.is_one_line_with({"must hold a checkpoint; found none in", "photos", "Give"}));
}

// A PNG whose header says `side` x `side`, with the right checksum.
std::string bomb(uint32_t side, const fs::path& small) {
  write_picture(small, 0, 4);
  std::string bytes = read_text(small);
  for (const size_t at : {size_t{16}, size_t{20}}) {
    for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<char>(side >> (24 - 8 * i) & 0xff);
  }
  const uLong crc = crc32(0, reinterpret_cast<const Bytef*>(bytes.data() + 12), 17);
  for (size_t i = 0; i < 4; ++i) bytes[29 + i] = static_cast<char>(crc >> (24 - 8 * i) & 0xff);
  return bytes;
}

TEST_F(BadData, ImagesForPrediction) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  write_picture(work_ / "good.png", 1, 40);
  write_text(work_ / "text.png", "no image at all\n");
  write_text(work_ / "empty.png", "");
  write_text(work_ / "bomb.png", bomb(30000, work_ / "small.png"));
  const std::string cut = read_text(work_ / "good.png");
  write_text(work_ / "cut.png", cut.substr(0, cut.size() / 2));
  for (const std::string name : {"text.png", "empty.png", "bomb.png", "cut.png", "none.png"}) {
    const auto ended = run_fovea({"predict", (work_ / "run").string(), (work_ / name).string()});
    EXPECT_EQ(ended.exit_code, 3) << name;
    EXPECT_TRUE(ended.is_one_line_with({name})) << name;
  }
  EXPECT_TRUE(run_fovea({"predict", (work_ / "run").string(), (work_ / "bomb.png").string()})
                  .is_one_line_with({"30000"}));
  // One bad image does not cost the others.
  const auto both = run_fovea({"predict", (work_ / "run").string(), (work_ / "empty.png").string(),
                               (work_ / "good.png").string(), "--json"});
  EXPECT_EQ(both.exit_code, 3);
  EXPECT_TRUE(both.json()["images"][0].contains("error"));
  EXPECT_EQ(both.json()["images"][1]["predictions"].size(), 5u);
}

TEST_F(BadData, ImagesForExplanation) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  write_text(work_ / "text.png", "no image\n");
  const auto bad = run_fovea({"explain", (work_ / "run").string(), (work_ / "text.png").string(), "--output",
                              (work_ / "out").string()});
  EXPECT_EQ(bad.exit_code, 3);
  const auto method = run_fovea({"explain", (work_ / "run").string(), (work_ / "text.png").string(),
                                 "--method", "gradcm", "--output", (work_ / "other").string()});
  EXPECT_EQ(method.exit_code, 2);
  EXPECT_TRUE(method.is_one_line_with({"'gradcam'"}));
  EXPECT_FALSE(fs::exists(work_ / "other"));
  write_picture(work_ / "good.png", 1, 40);
  const auto unfit = run_fovea({"explain", (work_ / "run").string(), (work_ / "good.png").string(),
                                "--method", "rollout", "--output", (work_ / "other").string()});
  EXPECT_EQ(unfit.exit_code, 2);
  EXPECT_TRUE(unfit.is_one_line_with({"rollout", "gradcam"}));
}

// The last checkpoint again, every weight NaN, in a folder of its own.
void write_broken_network(const fs::path& checkpoint, const fs::path& folder) {
  auto tensors = read_tensors(checkpoint / "model.safetensors");
  std::erase_if(tensors, [](const auto& item) { return item.first.ends_with("num_batches_tracked"); });
  for (auto& [name, tensor] : tensors) std::fill(tensor.values.begin(), tensor.values.end(), NAN);
  write_tensors(folder / "model.safetensors", tensors);
  write_text(folder / "config.json", read_text(checkpoint / "config.json"));
}

TEST_F(BadData, ScoresThatAreNotNumbers) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  write_broken_network(work_ / "run/checkpoint-2", work_ / "broken");
  write_picture(work_ / "a.png", 1, 40);
  write_text(work_ / "b.png", "no image\n");
  const std::string network = (work_ / "broken").string(), a = (work_ / "a.png").string(),
                    b = (work_ / "b.png").string();
  const auto ended = run_fovea({"predict", network, a, b, "--json"});
  EXPECT_EQ(ended.exit_code, 5) << ended.err;
  ASSERT_EQ(ended.json()["images"].size(), 2u);
  const std::string error = ended.json()["images"][0].value("error", "");
  EXPECT_NE(error.find("a.png"), std::string::npos) << error;
  EXPECT_NE(error.find("NaN"), std::string::npos) << error;
  const auto explained =
      run_fovea({"explain", network, a, "--method", "gradcam", "--output", (work_ / "out").string()});
  EXPECT_EQ(explained.exit_code, 5);
  EXPECT_TRUE(explained.is_one_line_with({"a.png"}));
}

TEST_F(BadData, WrongWeightsForTheModel) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  const std::string weights = (work_ / "run" / read_text(work_ / "run/last") / "model.safetensors").string();
  const std::string trimmed = weights.find('\n') == std::string::npos
                                  ? weights
                                  : (work_ / "run/checkpoint-2/model.safetensors").string();
  write_tensors(work_ / "x.safetensors", {{"input", {{1, 1, 28, 28}, std::vector<float>(784, 0.5F)}}});
  const std::string out = (work_ / "y.safetensors").string();
  const auto run = [&](const std::string& model) {
    return run_fovea({"run", "model", model, "--set", "in_chans=1", "--set", "num_classes=10", "--weights",
                      trimmed, "--input", (work_ / "x.safetensors").string(), "--output", out});
  };
  const auto wrong = run("resnet14");
  EXPECT_EQ(wrong.exit_code, 4);
  EXPECT_TRUE(wrong.is_one_line_with({"layer"}));
  EXPECT_FALSE(fs::exists(out));
  const auto right = run("resnet8");
  EXPECT_EQ(right.exit_code, 0) << right.err;
  EXPECT_TRUE(fs::exists(out));
}

TEST_F(BadData, DamagedModelFiles) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  const fs::path weights = work_ / "run/checkpoint-2/model.safetensors";
  std::string bytes = read_text(weights);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_text(weights, bytes);
  const auto flipped = run_fovea({"eval", (work_ / "run").string()});
  EXPECT_EQ(flipped.exit_code, 4);
  EXPECT_TRUE(flipped.is_one_line_with({"model.safetensors"}));
  const auto none = run_fovea({"eval", (work_ / "nothing").string()});
  EXPECT_EQ(none.exit_code, 4);
  EXPECT_TRUE(none.is_one_line_with({"nothing"}));
}

TEST_F(BadData, NaNInTheInput) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  std::vector<float> pixels(784, 0.5F);
  pixels[30] = NAN;
  write_tensors(work_ / "x.safetensors", {{"input", {{1, 1, 28, 28}, pixels}}});
  const std::string out = (work_ / "y.safetensors").string();
  const auto ended = run_fovea({"run", "model", (work_ / "run/checkpoint-2").string(), "--input",
                                (work_ / "x.safetensors").string(), "--output", out});
  EXPECT_EQ(ended.exit_code, 5);
  EXPECT_TRUE(ended.is_one_line_with({"x.safetensors", "'input'", "1 NaN", "(0, 0, 1, 2)"}));
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(BadData, WrongInputTensors) {
  write_tensors(work_ / "x.safetensors", {{"inputs", {{1, 1, 4, 4}, std::vector<float>(16, 0.5F)}}});
  write_tensors(work_ / "q.safetensors", {{"q", {{1, 1, 2, 2}, {1, 2, 3, 4}}}});
  const std::string out = (work_ / "y.safetensors").string();
  const auto mechanism = run_fovea(
      {"run", "mechanism", "softmax", "--input", (work_ / "q.safetensors").string(), "--output", out});
  EXPECT_EQ(mechanism.exit_code, 3);
  EXPECT_TRUE(mechanism.is_one_line_with({"'k'"}));
  const auto stranger = run_fovea(
      {"run", "mechanism", "softmax", "--input", (work_ / "x.safetensors").string(), "--output", out});
  EXPECT_EQ(stranger.exit_code, 3);
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(BadData, InputFilesOfTheWrongKind) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  const std::string out = (work_ / "y.safetensors").string(), x = (work_ / "x.safetensors").string(),
                    checkpoint = (work_ / "run/checkpoint-2").string();
  const auto mechanism = [&] {
    return run_fovea({"run", "mechanism", "softmax", "--input", x, "--output", out});
  };
  const auto model = [&] { return run_fovea({"run", "model", checkpoint, "--input", x, "--output", out}); };
  for (const auto& ended : {mechanism(), model()}) {
    EXPECT_EQ(ended.exit_code, 3) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"x.safetensors", "No such file"}));
  }
  write_text(x, "no tensors");
  for (const auto& ended : {mechanism(), model()}) {
    EXPECT_EQ(ended.exit_code, 3) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"x.safetensors"}));
  }
  const FloatTensor flat = {{2, 2}, {1, 2, 3, 4}};
  write_tensors(x, {{"q", flat}, {"k", flat}, {"v", flat}});
  EXPECT_EQ(mechanism().exit_code, 3);
  EXPECT_TRUE(mechanism().is_one_line_with({"x.safetensors", "(2, 2)"}));
}

TEST_F(BadData, DoublesBecomeFloats) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  const std::vector<double> pixels(784, 0.5);
  const std::string header = R"({"input":{"dtype":"F64","shape":[1,1,28,28],"data_offsets":[0,6272]}})";
  const uint64_t length = header.size();
  write_text(work_ / "x.safetensors", std::string(reinterpret_cast<const char*>(&length), sizeof length) +
                                          header +
                                          std::string(reinterpret_cast<const char*>(pixels.data()), 6272));
  const std::string out = (work_ / "y.safetensors").string();
  const auto ended = run_fovea({"run", "model", (work_ / "run/checkpoint-2").string(), "--input",
                                (work_ / "x.safetensors").string(), "--output", out});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(read_tensors(out).at("output").values.size(), 10u);
}

TEST_F(BadData, ModelFoldersThatAreDamaged) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  const fs::path checkpoint = work_ / "run/checkpoint-2";
  write_tensors(work_ / "x.safetensors", {{"input", {{1, 1, 28, 28}, std::vector<float>(784, 0.5F)}}});
  const auto run = [&](const fs::path& model) {
    return run_fovea({"run", "model", model.string(), "--input", (work_ / "x.safetensors").string(),
                      "--output", (work_ / "y.safetensors").string()});
  };
  fs::create_directories(work_ / "copy");
  fs::copy(checkpoint / "model.safetensors", work_ / "copy/model.safetensors");
  for (const char* config :
       {"{", "{}", R"({"model": {"name": 3}})", R"({"model": {"name": "resnet8", "depth": 3}})",
        R"({"architecture": "resnet8", "model_args": 3})"}) {
    write_text(work_ / "copy/config.json", config);
    const auto ended = run(work_ / "copy");
    EXPECT_EQ(ended.exit_code, 4) << config << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"config.json"}));
  }
  std::string bytes = read_text(checkpoint / "model.safetensors");
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write_text(checkpoint / "model.safetensors", bytes);
  for (const auto& ended :
       {run(checkpoint), run_fovea({"eval", (checkpoint / "model.safetensors").string()})}) {
    EXPECT_EQ(ended.exit_code, 4);
    EXPECT_TRUE(ended.is_one_line_with({"CRC32C"}));
  }
}

TEST_F(BadData, ABrokenLogForAReport) {
  write_idx(work_ / "data");
  train_tiny(work_ / "data", work_ / "run");
  for (const char* line : {"{\"step\": 3, \"epoch\": \"x\"}\n", "nothing\n"}) {
    write_text(work_ / "run/metrics.jsonl", line);
    const auto ended = run_fovea(
        {"report", (work_ / "run").string(), "--images", "2", "--output", (work_ / "out").string()});
    EXPECT_EQ(ended.exit_code, 3) << ended.err;
    EXPECT_NE(ended.err.find("metrics.jsonl"), std::string::npos) << ended.err;
  }
}

TEST_F(BadData, LossGoneWrong) {
  write_idx(work_ / "data");
  const auto ended = train("data", {"--set", "lr=1e12", "--set", "optimizer=sgd", "--set", "l2=1", "--set",
                                    "max_steps=50", "--set", "checkpoint_every=1"});
  EXPECT_EQ(ended.exit_code, 5) << ended.err;
  const std::string last = ended.err.substr(ended.err.rfind("\n", ended.err.size() - 2) + 1);
  EXPECT_NE(last.find("step"), std::string::npos) << last;
  EXPECT_NE(last.find("checkpoint"), std::string::npos) << last;
}

}  // namespace
}  // namespace fovea::cli_test
