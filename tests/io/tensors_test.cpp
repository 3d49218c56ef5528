#include "fovea/io/tensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "fovea/io/file.h"
#include "fovea/io/safetensors.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

const std::filesystem::path kGolden = std::filesystem::path(FOVEA_TEST_DATA) / "safetensors";

const std::map<std::string, at::ScalarType> kTypes = {{"bool", at::kBool},
                                                      {"uint8", at::kByte},
                                                      {"int8", at::kChar},
                                                      {"float8_e5m2", at::kFloat8_e5m2},
                                                      {"float8_e4m3fn", at::kFloat8_e4m3fn},
                                                      {"float8_e8m0fnu", at::kFloat8_e8m0fnu},
                                                      {"float8_e4m3fnuz", at::kFloat8_e4m3fnuz},
                                                      {"float8_e5m2fnuz", at::kFloat8_e5m2fnuz},
                                                      {"float4_e2m1fn_x2", at::ScalarType::Float4_e2m1fn_x2},
                                                      {"int16", at::kShort},
                                                      {"uint16", at::kUInt16},
                                                      {"float16", at::kHalf},
                                                      {"bfloat16", at::kBFloat16},
                                                      {"int32", at::kInt},
                                                      {"uint32", at::kUInt32},
                                                      {"float32", at::kFloat},
                                                      {"complex64", at::kComplexFloat},
                                                      {"float64", at::kDouble},
                                                      {"int64", at::kLong},
                                                      {"uint64", at::kUInt64}};
const std::map<std::string, std::vector<int64_t>> kShapes = {
    {"matrix", {3, 4}}, {"scalar", {}}, {"empty", {0, 5}}, {"vector", {7}}};

// The values of scripts/parity_tests/safetensors_golden.py: byte i is (37 i + 11) mod 251, for bool its
// lowest bit.
at::Tensor pattern(at::ScalarType type, const std::vector<int64_t>& shape) {
  at::Tensor tensor = at::empty(shape, type);
  auto* bytes = static_cast<uint8_t*>(tensor.data_ptr());
  for (size_t i = 0; i < tensor.nbytes(); ++i) {
    bytes[i] = static_cast<uint8_t>((37 * i + 11) % 251 % (type == at::kBool ? 2 : 251));
  }
  return tensor;
}

TensorMap all_dtypes() {
  TensorMap tensors;
  for (const auto& [type_name, type] : kTypes) {
    for (const auto& [shape_name, shape] : kShapes) {
      if (type == at::ScalarType::Float4_e2m1fn_x2 && shape.empty()) continue;
      tensors[type_name + "." + shape_name] = pattern(type, shape);
    }
  }
  return tensors;
}

void expect_same(const TensorMap& actual, const TensorMap& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    const at::Tensor& other = actual.at(name);
    ASSERT_EQ(other.scalar_type(), tensor.scalar_type()) << name;
    ASSERT_EQ(other.sizes(), tensor.sizes()) << name;
    if (tensor.numel() == 0) continue;
    EXPECT_EQ(std::memcmp(other.data_ptr(), tensor.data_ptr(), tensor.nbytes()), 0) << name;
  }
}

template <class Action>
void expect_fault(Action&& action, Fault fault, const std::string& part) {
  try {
    action();
    ADD_FAILURE() << "no error, expected " << fault_name(fault);
  } catch (const SafetensorsError& error) {
    EXPECT_EQ(fault_name(error.fault()), fault_name(fault)) << error.what();
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Tensors, ReadsAllThatPythonWrote) {
  const TensorMap loaded = load_tensors(kGolden / "all_dtypes.safetensors");
  EXPECT_EQ(loaded.size(), 20u * 4 - 1);
  expect_same(loaded, all_dtypes());
  EXPECT_TRUE(load_tensors(kGolden / "nothing.safetensors").empty());
}

TEST(Tensors, WritesWhatPythonWritesToTheByte) {
  const ScratchFolder folder;
  save_tensors(folder / "f", all_dtypes(), {{"format", "pt"}});
  EXPECT_EQ(slurp(folder / "f"), slurp(kGolden / "all_dtypes.safetensors"));
  save_tensors(folder / "f", {});
  EXPECT_EQ(slurp(folder / "f"), slurp(kGolden / "nothing.safetensors"));
  const auto odd = kGolden / "odd_names.safetensors";
  save_tensors(folder / "f", load_tensors(odd), TensorFile(odd).metadata());
  EXPECT_EQ(slurp(folder / "f"), slurp(odd));
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
}

TEST(Tensors, WritesValuesNotMemory) {
  const ScratchFolder folder;
  const at::Tensor base = at::arange(24, at::kFloat).reshape({4, 6});
  const at::Tensor complex = at::complex(base, base + 1);
  const TensorMap tensors = {{"transposed", base.t()},
                             {"strided", base.slice(1, 1, 6, 2)},
                             {"expanded", base.select(1, 0).unsqueeze(0).expand({3, 4})},
                             {"offset", base.select(0, 2)},
                             {"conjugate", complex.conj()},
                             {"negative", at::imag(complex.conj())},
                             {"channels_last", at::rand({2, 3, 4, 5}).to(at::MemoryFormat::ChannelsLast)},
                             {"tracked", at::ones({2}).requires_grad_() * 3},
                             {"scalar", at::tensor(2.5)},
                             {"empty", base.slice(0, 2, 2)}};
  save_tensors(folder / "f", tensors);
  const TensorMap loaded = load_tensors(folder / "f");
  ASSERT_EQ(loaded.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_TRUE(loaded.at(name).is_contiguous()) << name;
    EXPECT_TRUE(at::equal(loaded.at(name), tensor.detach())) << name;
    EXPECT_FALSE(loaded.at(name).requires_grad()) << name;
  }
}

TEST(Tensors, RefusesWhatTheFormatLacks) {
  const ScratchFolder folder;
  spill(folder / "f", "old");
  const auto expect_refused = [&](const at::Tensor& tensor, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] {
      save_tensors(folder / "f", {{"a", at::ones({2})}, {"bad", tensor}});
    });
  };
  expect_refused({}, "tensor 'bad' must be defined");
  expect_refused(at::ones({2}, at::kComplexDouble), "ComplexDouble");
  expect_refused(at::ones({2, 2}).to_sparse(), "to_dense()");
  expect_refused(at::ones({2}, at::TensorOptions().device(at::kMeta)), "meta");
  expect_refused(at::empty({}, at::ScalarType::Float4_e2m1fn_x2), "axis");
  expect_error(ErrorKind::usage, {"UTF-8"}, [&] { save_tensors(folder / "f", {{"\xff", at::ones({1})}}); });
  EXPECT_EQ(slurp(folder / "f"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
}

TEST(Tensors, KeepsTheOldFileWhenTheDiskRefuses) {
  const ScratchFolder folder;
  save_tensors(folder / "f", {{"a", at::zeros({3})}});
  const std::string old = slurp(folder / "f");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{5000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  std::string message;
  try {
    save_tensors(folder / "f", {{"a", at::zeros({1000})}, {"b", at::zeros({1000})}});
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(slurp(folder / "f"), old);
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
}

TEST(TensorFile, LoadsOneByOneAndLetsGoOfTheFile) {
  const ScratchFolder folder;
  save_tensors(folder / "f", {{"weight", at::arange(5000)}, {"bias", at::ones({2})}}, {{"k", "v"}});
  at::Tensor weight;
  {
    const TensorFile file(folder / "f");
    EXPECT_EQ(file.names(), (std::vector<std::string>{"bias", "weight"}));
    EXPECT_TRUE(file.contains("bias"));
    EXPECT_FALSE(file.contains("b"));
    EXPECT_EQ(file.shape("weight"), std::vector<int64_t>{5000});
    EXPECT_EQ(file.metadata().at("k"), "v");
    weight = file.load("weight");
    expect_fault([&] { file.load("wieght"); }, Fault::unknown_tensor, "Did you mean 'weight'?");
    expect_fault([&] { file.shape("x"); }, Fault::unknown_tensor, "'x'");
    std::filesystem::resize_file(folder / "f", 200);
    expect_error(ErrorKind::model_file, {"must not shrink"}, [&] { file.load("weight"); });
  }
  std::filesystem::remove(folder / "f");
  weight.add_(1);  // its own memory
  EXPECT_EQ(weight.sum().item<int64_t>(), 5000 * 5001 / 2);
}

TEST(TensorFile, RefusesTypesThatLibtorchLacks) {
  const TensorFile file(kGolden / "odd/f6.safetensors");
  EXPECT_EQ(file.shape("a"), std::vector<int64_t>{4});
  expect_fault([&] { file.load("a"); }, Fault::unsupported_dtype, "F6_E3M2");
}

TEST(TensorFile, JoinsShards) {
  for (const char* name : {"sharded", "sharded/model.safetensors.index.json"}) {
    const TensorFile file(kGolden / name);
    EXPECT_EQ(file.names(), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_TRUE(at::equal(file.load("a"), at::arange(4, at::kFloat)));
    EXPECT_TRUE(at::equal(file.load("b"), at::arange(3)));
    EXPECT_TRUE(at::equal(file.load("c"), at::ones({2, 2}, at::kBFloat16)));
    EXPECT_EQ(file.metadata().at("format"), "pt");
  }
}

TEST(TensorFile, NamesWhatIsWrongWithAnIndex) {
  const ScratchFolder folder;
  save_tensors(folder / "s.safetensors", {{"a", at::ones({1})}});
  const auto expect_index_fault = [&](const std::string& index, Fault fault, const std::string& part) {
    spill(folder / "m.safetensors.index.json", index);
    expect_fault([&] { TensorFile{folder.path()}; }, fault, part);
  };
  const auto map = [](const std::string& entries) { return R"({"weight_map":{)" + entries + "}}"; };
  expect_index_fault(map(R"("a":"t.safetensors")"), Fault::missing_shard, "'t.safetensors'");
  expect_index_fault(map(R"("a":"s.safetensors","b":"s.safetensors")"), Fault::missing_tensor, "'b'");
  for (const char* outside :
       {"../s.safetensors", "/etc/passwd", "..", ".", "", "sub/s.safetensors", "..\\\\s", "s\\u0000"}) {
    expect_index_fault(map(R"("a":")" + std::string(outside) + "\""), Fault::shard_outside,
                       "plain file name");
  }
  expect_index_fault(map(R"("a":"s.safetensors","a":"t.safetensors")"), Fault::bad_index, "'a' twice");
  expect_index_fault(map(R"("a":1)"), Fault::bad_index, "name a file");
  for (const char* bad : {"", "{", "[]", "{}", R"({"weight_map":[]})", "\xff", R"({"weight_map":{}}x)"}) {
    expect_index_fault(bad, Fault::bad_index, "index must");
  }
  expect_index_fault(std::string(100'000, '['), Fault::bad_index, "nested");
  expect_index_fault(map("") + std::string(1, '\0'), Fault::bad_index, "zero byte");
  spill(folder / "s.safetensors", "short");
  expect_index_fault(map(R"("a":"s.safetensors")"), Fault::file_too_small, "s.safetensors");
}

TEST(TensorFile, FindsTheModelOfAFolder) {
  const ScratchFolder folder;
  expect_fault([&] { TensorFile{folder.path()}; }, Fault::no_model_here, "0 .safetensors files");
  save_tensors(folder / "one.safetensors", {{"one", at::ones({1})}});
  EXPECT_TRUE(TensorFile(folder.path()).contains("one"));
  save_tensors(folder / "two.safetensors", {{"two", at::ones({1})}});
  expect_fault([&] { TensorFile{folder.path()}; }, Fault::no_model_here, "2 .safetensors files");
  save_tensors(folder / "model.safetensors", {{"model", at::ones({1})}});
  EXPECT_TRUE(TensorFile(folder.path()).contains("model"));
  expect_error(ErrorKind::model_file, {"No such file"}, [&] { TensorFile{folder / "none"}; });
  expect_error(ErrorKind::model_file, {"File name too long"},
               [&] { TensorFile{folder / std::string(300, 'x')}; });
}

// scripts/parity names the Python that has torch and safetensors.
TEST(Tensors, PythonReadsWhatWeWrite) {
  const char* python = std::getenv("FOVEA_PARITY_PYTHON");
  if (!python || !*python) GTEST_SKIP() << "FOVEA_PARITY_PYTHON is not set";
  const ScratchFolder folder;
  save_tensors(folder / "ours", all_dtypes(), {{"format", "pt"}});
  const std::string script =
      std::string(FOVEA_TEST_DATA) + "/../../scripts/parity_tests/safetensors_roundtrip.py";
  const std::string command = std::string(python) + " " + script + " " + (folder / "ours").string() + " " +
                              (folder / "theirs").string();
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(slurp(folder / "ours"), slurp(folder / "theirs"));
  expect_same(load_tensors(folder / "theirs"), all_dtypes());
}

}  // namespace
}  // namespace fovea::io
