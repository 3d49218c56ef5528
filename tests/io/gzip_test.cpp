#include "fovea/io/gzip.h"

#include <gtest/gtest.h>

#include "fovea/io/file.h"
#include "tests/io/gzip_bytes.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

namespace fovea::io {
namespace {

// Long enough for several rounds of output, and hard to compress.
std::string sample_text() {
  std::string text;
  for (int i = 0; i < 60'000; ++i) text += std::to_string(i * 2654435761u) + ' ';
  return text;
}

TEST(Gzip, ReadsPlainAndPacked) {
  const ScratchFolder folder;
  const std::string text = sample_text();
  spill(folder / "plain.gz", text);  // content decides, not the name
  spill(folder / "packed", gzip(text));
  spill(folder / "empty", "");
  EXPECT_EQ(read_maybe_gzip(folder / "plain.gz", text.size()), text);
  EXPECT_EQ(read_maybe_gzip(folder / "packed", text.size()), text);
  EXPECT_EQ(read_maybe_gzip(folder / "empty", 0), "");
  EXPECT_EQ(unpack_maybe_gzip(gzip(""), "x", 0), "");
  EXPECT_EQ(unpack_maybe_gzip(gzip("abc"), "x", kNoLimit), "abc");
}

TEST(Gzip, JoinsMembers) {
  EXPECT_EQ(unpack_maybe_gzip(gzip("ab") + gzip("") + gzip("cd"), "x", 4), "abcd");
  EXPECT_EQ(unpack_maybe_gzip(gzip("ab") + std::string(512, '\0'), "x", 4), "ab");
  expect_error(ErrorKind::data, {"[x] nothing may follow"},
               [] { unpack_maybe_gzip(gzip("ab") + "junk", "x", 4); });
}

TEST(Gzip, EveryTruncationIsAnError) {
  const std::string packed = gzip("some text, some text, and more text") + gzip("second");
  const size_t first = gzip("some text, some text, and more text").size();
  for (size_t size = 2; size < packed.size(); ++size) {
    if (size == first) continue;
    const std::string part = packed.substr(0, size);
    if (size == first + 1) {
      expect_error(ErrorKind::data, {"nothing may follow"}, [&] { unpack_maybe_gzip(part, "x", 1000); });
    } else {
      expect_error(ErrorKind::data, {"truncated"}, [&] { unpack_maybe_gzip(part, "x", 1000); });
    }
  }
}

TEST(Gzip, EveryDamagedByteIsAnError) {
  const std::string text = "some text, some text, and more text";
  const std::string packed = gzip(text);
  for (size_t at = 2; at < packed.size(); ++at) {
    // Time stamp, extra flags and system are free. Flags (3) can turn data into a file name.
    if (at >= 3 && at < 10) continue;
    std::string damaged = packed;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    expect_error(ErrorKind::data, {"[file.gz]"}, [&] { unpack_maybe_gzip(damaged, "file.gz", 1000); });
  }
}

TEST(Gzip, StopsBombs) {
  const ScratchFolder folder;
  const std::string bomb = gzip(std::string(50'000'000, '\0'));
  ASSERT_LT(bomb.size(), 60'000u);
  spill(folder / "bomb.gz", bomb);
  expect_error(ErrorKind::data, {"at most 1000000 bytes"},
               [&] { read_maybe_gzip(folder / "bomb.gz", 1'000'000); });
  expect_error(ErrorKind::data, {"at most 49999999 bytes"},
               [&] { read_maybe_gzip(folder / "bomb.gz", 49'999'999); });
  expect_error(ErrorKind::data, {"at most 3 bytes"},
               [] { unpack_maybe_gzip(gzip("ab") + gzip("cd"), "x", 3); });
  expect_error(ErrorKind::data, {"at most 3 bytes; found 4"}, [] { unpack_maybe_gzip("abcd", "x", 3); });
  expect_error(ErrorKind::data, {"No such file"}, [&] { read_maybe_gzip(folder / "none", 3); });
}

}  // namespace
}  // namespace fovea::io
