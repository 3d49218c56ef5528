#include "fixtures.h"

#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "fovea/io/image.h"

namespace fovea::cli_test {
namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder(const std::string& name) {
  std::string root = (fs::temp_directory_path() / "fovea-cli-XXXXXX").string();
  if (mkdtemp(root.data()) == nullptr) throw std::runtime_error("no temporary folder");
  root_ = root;
  path_ = root_ / name;
  fs::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

std::string read_text(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_text(const fs::path& file, const std::string& bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << bytes;
}

void write_picture(const fs::path& file, int kind, int64_t side, int64_t channels) {
  fs::create_directories(file.parent_path());
  io::Image image{.width = side, .height = side, .channels = channels, .pixels = {}};
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      const bool light = kind % 2 == 0 ? y % 4 < 2 : (x + y + kind) % 6 < 3;
      for (int64_t c = 0; c < channels; ++c)
        image.pixels.push_back(light ? 230 : static_cast<uint8_t>(10 + kind));
    }
  }
  io::write_png(file, image);
}

namespace {

std::string big_endian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

// Class c is a bar of light at row 2 c.
void write_idx_part(const fs::path& folder, const std::string& part, int64_t count) {
  std::string images =
      big_endian(0x803) + big_endian(static_cast<uint32_t>(count)) + big_endian(28) + big_endian(28);
  std::string labels = big_endian(0x801) + big_endian(static_cast<uint32_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const int64_t label = i % 10;
    labels += static_cast<char>(label);
    for (int64_t pixel = 0; pixel < 28 * 28; ++pixel) {
      const bool light = pixel / 28 / 2 == label + 1;
      images += static_cast<char>(light ? 200 + i % 50 : (pixel * 7 + i) % 40);
    }
  }
  write_text(folder / (part + "-images-idx3-ubyte"), images);
  write_text(folder / (part + "-labels-idx1-ubyte"), labels);
}

}  // namespace

void write_idx(const fs::path& folder, int64_t train, int64_t test) {
  write_idx_part(folder, "train", train);
  write_idx_part(folder, "t10k", test);
}

void write_image_folder(const fs::path& folder, int each) {
  for (int i = 0; i < each; ++i) {
    write_picture(folder / "stripes" / (std::to_string(i) + ".png"), 2 * i, 16 + i);
    write_picture(folder / "squares" / (std::to_string(i) + ".png"), 2 * i + 1, 20 + i);
  }
}

void write_tensors(const fs::path& file, const std::map<std::string, FloatTensor>& tensors) {
  nlohmann::ordered_json header;
  std::string bytes;
  for (const auto& [name, tensor] : tensors) {
    const size_t begin = bytes.size();
    const auto& [shape, values, integers] = tensor;
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    bytes.append(reinterpret_cast<const char*>(integers.data()), integers.size() * sizeof(int64_t));
    const char* type = integers.empty() ? "F32" : "I64";
    header[name] = {{"dtype", type}, {"shape", shape}, {"data_offsets", {begin, bytes.size()}}};
  }
  const std::string text = header.dump();
  const uint64_t length = text.size();
  write_text(file, std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + bytes);
}

std::map<std::string, FloatTensor> read_tensors(const fs::path& file) {
  const std::string bytes = read_text(file);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  const auto header = nlohmann::json::parse(bytes.substr(sizeof length, length));
  std::map<std::string, FloatTensor> tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    FloatTensor tensor{.shape = entry["shape"], .values = {}, .integers = {}};
    const size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    tensor.values.resize((end - begin) / sizeof(float));
    std::memcpy(tensor.values.data(), bytes.data() + sizeof length + length + begin, end - begin);
    tensors[name] = tensor;
  }
  return tensors;
}

std::vector<std::string> training(const fs::path& data, const fs::path& run,
                                  const std::vector<std::string>& more) {
  std::vector<std::string> words = {"train",    "classify",
                                    "--model",  "resnet8",
                                    "--data",   "mnist:" + data.string(),
                                    "--set",    "batch_size=8",
                                    "--set",    "lr=0.01",
                                    "--set",    "data.workers=0",
                                    "--seed",   "3",
                                    "--output", run.string()};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

void train_tiny(const fs::path& data, const fs::path& run) {
  const auto ended = run_fovea(training(data, run, {"--set", "max_steps=2"}));
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
}

}  // namespace fovea::cli_test
