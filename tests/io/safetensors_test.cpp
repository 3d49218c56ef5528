#include "fovea/io/safetensors.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <set>

#include "fovea/io/file.h"
#include "fovea/io/json_cursor.h"
#include "fovea/io/utf8.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

// Counts what the reader takes, for the promise on its memory.
namespace {
std::atomic<size_t> live_bytes{0}, peak_bytes{0};
}  // namespace

void* operator new(size_t size) {
  void* block = std::malloc(size);
  if (!block) throw std::bad_alloc();
  const size_t live = live_bytes += malloc_usable_size(block);
  if (live > peak_bytes) peak_bytes = live;
  return block;
}
void operator delete(void* block) noexcept {
  live_bytes -= malloc_usable_size(block);
  std::free(block);
}
void operator delete(void* block, size_t) noexcept { operator delete(block); }

namespace fovea::io {
namespace {

using Fault = SafetensorsFault;

const std::filesystem::path kGolden = std::filesystem::path(FOVEA_TEST_DATA) / "safetensors";

std::string file_of(const std::string& header, const std::string& data = "") {
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  return length + header + data;
}

std::string fault_of(const std::string& content) {
  try {
    SafetensorsFile::parse(as_bytes(content), "x");
  } catch (const SafetensorsError& error) {
    return std::string(fault_name(error.fault()));
  }
  return "none";
}

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Safetensors, NamesTheFaultOfEveryHostileFile) {
  std::set<std::string> faults;
  for (const auto& path : files_in(kGolden / "hostile")) {
    const std::string fault = path.stem().string().substr(0, path.stem().string().find('-'));
    faults.insert(fault);
    try {
      SafetensorsFile::open(path);
      ADD_FAILURE() << path << " was accepted";
    } catch (const SafetensorsError& error) {
      EXPECT_EQ(fault_name(error.fault()), fault) << error.what();
      EXPECT_EQ(error.exit_code(), 4);
      const std::string text = error.what();
      EXPECT_TRUE(text.starts_with("[" + path.string() + "] ")) << text;
      EXPECT_NE(text.find("; found "), std::string::npos) << text;
      EXPECT_TRUE(is_utf8(text) && text.find('\n') == std::string::npos) << text;
      EXPECT_LT(text.size(), 700 + path.string().size()) << text;
    }
  }
  // All that a header can do wrong, but the two that need a large file (below).
  for (int i = 0; i <= static_cast<int>(Fault::trailing_bytes); ++i) {
    const auto fault = static_cast<Fault>(i);
    const bool large = fault == Fault::too_many_tensors || fault == Fault::too_many_metadata;
    EXPECT_TRUE(large || faults.contains(std::string(fault_name(fault)))) << fault_name(fault);
  }
}

TEST(Safetensors, AcceptsTheUnusualButRight) {
  for (const auto& path : files_in(kGolden / "odd")) {
    EXPECT_NO_THROW({
      const auto file = SafetensorsFile::open(path);
      for (const TensorInfo& info : file.tensors()) file.bytes(info.name);
    }) << path;
  }
  EXPECT_NE(SafetensorsFile::open(kGolden / "odd/escapes.safetensors").find("\u00e9\U0001f600/\b"), nullptr);
  const auto swapped = SafetensorsFile::open(kGolden / "odd/not_in_order.safetensors");
  EXPECT_EQ(swapped.info("a").begin, 4u);
  EXPECT_EQ(swapped.info("b").begin, 0u);
}

TEST(Safetensors, BoundsTheNumberOfEntries) {
  const auto many = [](size_t count, const std::string& entry, const std::string& prefix,
                       const std::string& suffix) {
    std::string header = prefix;
    for (size_t i = 0; i < count; ++i) header += (i ? ",\"" : "\"") + std::to_string(i) + "\":" + entry;
    return file_of(header + suffix);
  };
  const std::string tensor = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})",
                    metadata = R"({"__metadata__":{)";
  EXPECT_EQ(fault_of(many(100'000, tensor, "{", "}")), "none");
  EXPECT_EQ(fault_of(many(100'001, tensor, "{", "}")), "too_many_tensors");
  EXPECT_EQ(fault_of(many(100'000, "\"\"", metadata, "}}")), "none");
  EXPECT_EQ(fault_of(many(100'001, "\"\"", metadata, "}}")), "too_many_metadata");
}

// A file may be cut anywhere, by a full disk or a broken download.
TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string content = slurp(kGolden / "all_dtypes.safetensors");
  const size_t header_end = 8 + static_cast<uint8_t>(content[0]) + 256u * static_cast<uint8_t>(content[1]);
  for (size_t size = 0; size < content.size(); ++size) {
    const std::string expected = size < 8            ? "file_too_small"
                                 : size < header_end ? "header_beyond_file"
                                                     : "out_of_range";
    ASSERT_EQ(fault_of(content.substr(0, size)), expected) << size;
  }
}

TEST(Safetensors, EveryDamagedHeaderByteIsAnErrorOrHarmless) {
  const std::string content = slurp(kGolden / "odd_names.safetensors");
  const size_t header = content.size() - 12;
  for (size_t at = 0; at < header; ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string damaged = content;
      damaged[at] = static_cast<char>(value);
      try {
        const auto file = SafetensorsFile::parse(as_bytes(damaged), "x");
        for (const TensorInfo& info : file.tensors()) {
          const auto bytes = file.bytes(info.name);
          ASSERT_GE(bytes.data(), as_bytes(damaged).data() + 8);
          ASSERT_LE(bytes.data() + bytes.size(), as_bytes(damaged).data() + damaged.size());
        }
      } catch (const SafetensorsError&) {
      }
    }
  }
}

// Four times the file and 64 MB, for whatever a header may hold.
TEST(Safetensors, TakesLittleMemory) {
  constexpr size_t kSize = 16'000'000;
  const auto repeat = [&](const std::string& part) {
    std::string text;
    while (text.size() < kSize) text += part;
    return text;
  };
  const std::string long_text(kSize, 'a'), ones = repeat("1,"), brackets = repeat("["),
                                           escapes = repeat("\\n");
  std::string wide;
  const std::string shape = "[" + std::string("0,").append(repeat("0,"), 0, 124) + "0]";
  for (size_t i = 0; i < 99'999; ++i) {
    wide += "\"" + std::to_string(i) + R"(":{"dtype":"U8","shape":)" + shape + R"(,"data_offsets":[0,0]},)";
  }
  const std::string headers[] = {
      "{\"" + long_text,
      "{\"" + long_text + "\n\":1}",
      "{\"" + long_text + R"(":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})",
      R"({"__metadata__":{"a":")" + long_text + "\"}}",
      R"({"__metadata__":{")" + escapes + "\":\"\"}}",
      R"({"a":{"dtype":"U8","shape":[)" + ones,
      R"({"a":)" + brackets,
      brackets,
      R"({"a":{"dtype":")" + long_text + "\"}}",
      "{" + wide + R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
  };
  for (const std::string& header : headers) {
    const std::string content = file_of(header);
    const size_t before = live_bytes;
    peak_bytes = before;
    fault_of(content);
    EXPECT_LE(peak_bytes - before, 4 * content.size() + 64'000'000) << header.substr(0, 40);
  }
}

TEST(Safetensors, FindsTensorsByName) {
  const auto file = SafetensorsFile::open(kGolden / "all_dtypes.safetensors");
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}}));
  EXPECT_TRUE(std::is_sorted(file.tensors().begin(), file.tensors().end(),
                             [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; }));
  const TensorInfo& info = file.info("bfloat16.matrix");
  EXPECT_EQ(dtype_name(info.dtype), "BF16");
  EXPECT_EQ(info.shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(file.bytes("bfloat16.matrix").size(), 24u);
  EXPECT_EQ(file.find("bfloat16"), nullptr);
  expect_error(ErrorKind::model_file, {"Did you mean 'bfloat16.matrix'?"},
               [&] { file.info("bfloat16.matrx"); });
  expect_error(ErrorKind::model_file, {"No such file"}, [] { SafetensorsFile::open(kGolden / "none"); });
}

// What Python's safetensors 0.8 writes, to the byte.
TEST(Safetensors, WritesPythonsHeaders) {
  for (const char* name : {"all_dtypes", "nothing", "odd_names"}) {
    const std::filesystem::path path = kGolden / (std::string(name) + ".safetensors");
    const auto file = SafetensorsFile::open(path);
    std::vector<TensorInfo> tensors = file.tensors();
    const std::string header = lay_out_safetensors(tensors, file.metadata());
    EXPECT_EQ(header, slurp(path).substr(0, header.size())) << name;
    EXPECT_EQ(header.size() % 8, 0u);
  }
}

TEST(Safetensors, RefusesToWriteWhatCannotBeRead) {
  const auto lay_out = [](std::vector<TensorInfo> tensors, std::map<std::string, std::string> metadata = {}) {
    lay_out_safetensors(tensors, metadata);
  };
  const auto expect_refused = [&](TensorInfo info, const std::string& part) {
    expect_error(ErrorKind::usage, {part}, [&] { lay_out({info}); });
  };
  expect_refused({.name = "__metadata__", .shape = {1}}, "not __metadata__");
  expect_refused({.name = "\xff", .shape = {1}}, "UTF-8");
  expect_refused({.name = "a", .shape = {-1}}, "dimensions");
  expect_refused({.name = "a", .shape = std::vector<int64_t>(65, 1)}, "64 dimensions");
  expect_refused({.name = "a", .shape = {int64_t{1} << 60}}, "fewer than 2^60");
  expect_refused({.name = "a", .dtype = Dtype::F4, .shape = {3}}, "whole bytes");
  expect_error(ErrorKind::usage, {"differ"}, [&] {
    lay_out({{.name = "a", .shape = {}}, {.name = "a", .dtype = Dtype::U8, .shape = {}}});
  });
  expect_error(ErrorKind::usage, {"UTF-8"}, [&] { lay_out({}, {{"k", "\xff"}}); });
  expect_error(ErrorKind::usage, {"100000 tensors"}, [&] { lay_out(std::vector<TensorInfo>(100'001)); });
}

// What the Rust reader accepts and ours does not, as safetensors.h lists it.
const std::set<std::string> kStricter = {"duplicate_name",     "unknown_field", "header_not_object",
                                         "wrong_field_type",   "bad_metadata",  "shape_overflow",
                                         "too_many_dimensions"};

TEST(Safetensors, JudgesDamagedFilesAsRustDoes) {
  const char* python = std::getenv("FOVEA_PARITY_PYTHON");
  if (!python || !*python) GTEST_SKIP() << "FOVEA_PARITY_PYTHON is not set";
  const ScratchFolder folder;
  const std::string script =
      std::string(FOVEA_TEST_DATA) + "/../../scripts/parity_tests/safetensors_mutants.py ";
  ASSERT_EQ(std::system((std::string(python) + " " + script + (folder / "mutants").string()).c_str()), 0);
  const std::string records = slurp(folder / "mutants");
  size_t at = 0, accepted = 0, stricter = 0, refused = 0;
  while (at < records.size()) {
    uint32_t size = 0;
    std::memcpy(&size, &records[at], 4);
    const bool rust_accepts = records[at + 4] != 0;
    const std::string content = records.substr(at + 5, size), fault = fault_of(content);
    at += 5 + size;
    if (fault == "none") {
      ++accepted;
      EXPECT_TRUE(rust_accepts) << quote_text(content, 1000);
    } else if (rust_accepts) {
      ++stricter;
      EXPECT_TRUE(kStricter.contains(fault)) << fault << " " << quote_text(content, 1000);
    } else {
      ++refused;
    }
  }
  EXPECT_EQ(accepted + stricter + refused, 10'000u);
  EXPECT_GT(accepted, 300u);
  EXPECT_GT(refused, 3000u);
  RecordProperty("accepted", static_cast<int>(accepted));
  RecordProperty("stricter", static_cast<int>(stricter));
  RecordProperty("refused", static_cast<int>(refused));
}

TEST(Safetensors, NoticesThatTheFileShrank) {
  const ScratchFolder folder;
  const std::string header = R"({"a":{"dtype":"U8","shape":[20000],"data_offsets":[0,20000]}})";
  spill(folder / "f", file_of(header, std::string(20'000, 'x')));
  const auto file = SafetensorsFile::open(folder / "f");
  std::filesystem::resize_file(folder / "f", 100);
  expect_error(ErrorKind::model_file, {"must not shrink"}, [&] { file.bytes("a"); });
}

TEST(Utf8, FollowsRfc3629) {
  for (const char* good : {"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  EXPECT_TRUE(is_utf8(std::string_view("\0", 1)));
  for (const char* bad :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x9f\xbf", "\xe2\x82",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
}

TEST(Utf8, QuotesForMessages) {
  EXPECT_EQ(quote_text("plain \u00e9"), "'plain \u00e9'");
  EXPECT_EQ(quote_text("a\x1b[31m\xff\n"),
            "'a?[31m?"
            "?'");
  EXPECT_EQ(quote_text("abcdef", 3), "'abc...'");
  EXPECT_EQ(quote_text("ab\u00e9", 3), "'ab...'") << "a character is never cut";
}

TEST(JsonCursor, ReadsPlainWholeNumbersOnly) {
  const auto read = [](std::string_view text) { return JsonCursor(text).whole_number(); };
  EXPECT_EQ(read("0"), 0u);
  EXPECT_EQ(read(" 18446744073709551615,"), 18446744073709551615u);
  for (const char* bad :
       {"", "-1", "-0", "+1", "01", "00", "1.0", "1.", "1e0", "1E2", ".5", "18446744073709551616", "x"}) {
    EXPECT_FALSE(read(bad)) << bad;
  }
}

TEST(JsonCursor, WritesWhatItReads) {
  std::string all;
  for (int c = 0; c < 128; ++c) all += static_cast<char>(c);
  all += "\u00e9\u4e2d\U0001f600";
  std::string json;
  append_json_string(json, all);
  EXPECT_EQ(JsonCursor(json).string(), all);
  EXPECT_EQ(JsonCursor(R"("\u00e9\u4E2d\ud83d\ude00\/\u0000")").string(),
            std::string("\u00e9\u4e2d\U0001f600/\0", 11));
}

}  // namespace
}  // namespace fovea::io
