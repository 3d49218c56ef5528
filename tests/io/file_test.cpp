#include "fovea/io/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

#include "fovea/io/crc32c.h"
#include "fovea/io/json_text.h"
#include "fovea/io/utf8.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"

namespace fovea::io {
namespace {

std::span<const std::byte> bytes_of(const std::vector<uint8_t>& values) {
  return std::as_bytes(std::span(values));
}

TEST(ReadFile, ReturnsTheContent) {
  const ScratchFolder folder;
  const std::string content("a\0b\n", 4);
  spill(folder / "f", content);
  EXPECT_EQ(read_file(folder / "f"), content);
  EXPECT_EQ(read_file(folder / "f", 4), content);
  spill(folder / "empty", "");
  EXPECT_EQ(read_file(folder / "empty"), "");
  EXPECT_NE(read_file("/proc/self/status").find("VmPeak"), std::string::npos) << "a file that tells no size";
}

TEST(ReadFile, SaysWhatIsWrong) {
  const ScratchFolder folder;
  spill(folder / "f", "12345");
  const std::string path = (folder / "none").string();
  expect_error(ErrorKind::data, {"[" + path + "]"}, [&] { read_file(path); });
  expect_error(ErrorKind::data, {"No such file or directory. Check the path."}, [&] { read_file(path); });
  expect_error(ErrorKind::model_file, {path}, [&] { read_file(path, kNoLimit, ErrorKind::model_file); });
  expect_error(ErrorKind::data, {"Name a file, not a folder."}, [&] { read_file(folder.path()); });
  expect_error(ErrorKind::data, {"at most 4 bytes; found 5"}, [&] { read_file(folder / "f", 4); });
  expect_error(ErrorKind::data, {"at most 4 bytes"}, [&] { read_file("/proc/self/status", 4); });
  expect_error(ErrorKind::data, {"Input/output error. The disk reports"},
               [&] { read_file("/proc/self/mem"); });
}

TEST(ReadFile, ReadsPipes) {
  const ScratchFolder folder;
  const std::string pipe = folder / "pipe", content(200'000, 'x');
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    spill(pipe, content);
    ::_exit(0);
  }
  EXPECT_EQ(read_file(pipe), content);
  ::waitpid(child, nullptr, 0);
}

TEST(WriteAtomically, CreatesAndReplaces) {
  const ScratchFolder folder;
  write_atomically(folder / "f", "one");
  EXPECT_EQ(slurp(folder / "f"), "one");
  ::chmod((folder / "f").c_str(), 0600);
  write_atomically(folder / "f", "");
  EXPECT_EQ(slurp(folder / "f"), "");
  struct stat status {};
  ::stat((folder / "f").c_str(), &status);
  EXPECT_EQ(status.st_mode & 0777, 0600u) << "a private file must stay private";
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
}

TEST(WriteAtomically, WritesIntoTheCurrentFolder) {
  const ScratchFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_atomically("f", "here");
  std::filesystem::current_path(before);
  EXPECT_EQ(slurp(folder / "f"), "here");
}

TEST(WriteAtomically, FollowsLinksAndRefusesDevices) {
  const ScratchFolder folder, other;
  spill(other / "target", "old");
  std::filesystem::create_symlink(other / "target", folder / "link");
  write_atomically(folder / "link", "new");
  EXPECT_EQ(slurp(other / "target"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  expect_error(ErrorKind::other, {"regular file"}, [] { write_atomically("/dev/null", "x"); });
  expect_error(ErrorKind::other, {"regular file"}, [&] { write_atomically(folder.path(), "x"); });
  expect_error(ErrorKind::other, {"No such file or directory"},
               [&] { write_atomically(folder / "no/f", "x"); });
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const ScratchFolder folder;
  spill(folder / "f", "old");
  {
    AtomicFile file(folder / "f");
    file.write("new");
    const std::vector<std::string> during = folder.names();
    ASSERT_EQ(during.size(), 2u);
    EXPECT_TRUE(is_temporary_name(during[0])) << during[0];
    EXPECT_EQ(slurp(folder / "f"), "old");
  }
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
  EXPECT_EQ(slurp(folder / "f"), "old");
}

TEST(AtomicFile, CannotBeUsedAfterCommit) {
  const ScratchFolder folder;
  AtomicFile file(folder / "f");
  file.commit();
  expect_error(ErrorKind::other, {"closed"}, [&] { file.write("x"); });
  expect_error(ErrorKind::other, {"closed"}, [&] { file.commit(); });
  EXPECT_EQ(slurp(folder / "f"), "");
}

// What a full disk looks like, without mounting one: a write() that fails half way.
TEST(AtomicFile, KeepsTheOldFileWhenTheDiskRefuses) {
  const ScratchFolder folder;
  spill(folder / "f", "old");
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{1000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &tight);
  std::string message;
  try {
    write_atomically(folder / "f", std::string(5000, 'x'));
  } catch (const Error& error) {
    message = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(message.find((folder / "f").string()), std::string::npos) << message;
  EXPECT_NE(message.find("File too large. Raise the limit on file sizes (ulimit -f)"), std::string::npos)
      << message;
  EXPECT_EQ(slurp(folder / "f"), "old");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"f"});
}

TEST(WriteAll, NamesTheReason) {
  const std::string text(100, 'x');
  const int full = ::open("/dev/full", O_WRONLY), memory = ::open("/proc/self/mem", O_RDWR);
  expect_error(
      ErrorKind::other,
      {"[some/file] the file must be writable to its end; found: No space left on device. Free some space"},
      [&] { write_all(full, as_bytes(text), "some/file"); });
  expect_error(ErrorKind::other, {"Input/output error. The disk"},
               [&] { write_all(memory, as_bytes(text), "f"); });
  ::close(full);
  ::close(memory);
}

// The promise that checkpoints rest on: whatever the moment of the kill, the name holds one whole version.
TEST(AtomicFile, SurvivesKillsAtAnyMoment) {
  const ScratchFolder folder;
  constexpr size_t kSize = 300'000;
  write_atomically(folder / "f", std::string(kSize, 'a'));
  std::mt19937 random(1);
  for (int round = 0; round < 25; ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (char letter = 'b';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
        write_atomically(folder / "f", std::string(kSize, letter));
      }
    }
    ::usleep(1000 + random() % 8000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string content = slurp(folder / "f");
    ASSERT_EQ(content, std::string(kSize, content.empty() ? '?' : content[0]));
    for (const std::string& name : folder.names()) {
      if (name == "f") continue;
      ASSERT_TRUE(is_temporary_name(name)) << name;
      std::filesystem::remove(folder / name);
    }
  }
}

TEST(IsTemporaryName, TellsOnlyOurs) {
  EXPECT_TRUE(is_temporary_name(".fovea-tmp-12-0123456789abcdef"));
  for (const char* other : {"", "model.safetensors", ".fovea-tmp-", ".fovea-tmp-12-0123456789abcde",
                            ".fovea-tmp--0123456789abcdef", ".fovea-tmp-x-0123456789abcdef",
                            ".fovea-tmp-12-0123456789abcdeg", ".fovea-tmp-12-0123456789abcdef0"}) {
    EXPECT_FALSE(is_temporary_name(other)) << other;
  }
}

TEST(SyncDirectory, NeedsAFolder) {
  const ScratchFolder folder;
  sync_directory(folder.path());
  sync_directory("");
  expect_error(ErrorKind::other, {"No such file"}, [&] { sync_directory(folder / "none"); });
}

TEST(MappedFile, ShowsTheContent) {
  const ScratchFolder folder;
  spill(folder / "f", "abc");
  spill(folder / "empty", "");
  const MappedFile file(folder / "f"), empty(folder / "empty");
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(std::memcmp(file.bytes().data(), "abc", 3), 0);
  EXPECT_TRUE(empty.bytes().empty());
  expect_error(ErrorKind::data, {"folder"}, [&] { MappedFile{folder.path()}; });
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  expect_error(ErrorKind::data, {"regular file"}, [&] { MappedFile{folder / "pipe"}; });
  expect_error(ErrorKind::data, {"regular file"}, [&] { MappedFile{"/dev/null"}; });
  expect_error(ErrorKind::model_file, {"No such file"},
               [&] { MappedFile(folder / "none", ErrorKind::model_file); });
}

TEST(MappedFile, NoticesThatTheFileShrank) {
  const ScratchFolder folder;
  spill(folder / "f", std::string(10'000, 'x'));
  const MappedFile file(folder / "f");
  file.require_unchanged();
  std::filesystem::resize_file(folder / "f", 100);
  expect_error(ErrorKind::data, {"100 of 10000 bytes left"}, [&] { file.require_unchanged(); });
}

// RFC 3720, B.4; and the check value of the catalogue of CRCs.
TEST(Crc32c, HasTheKnownAnswers) {
  std::vector<uint8_t> up(32), down(32);
  for (uint8_t i = 0; i < 32; ++i) up[i] = i, down[i] = static_cast<uint8_t>(31 - i);
  std::vector<uint8_t> command(48, 0);
  for (const auto& [at, value] : std::initializer_list<std::pair<size_t, uint8_t>>{
           {0, 0x01}, {1, 0xc0}, {16, 0x14}, {22, 0x04}, {27, 0x14}, {31, 0x18}, {32, 0x28}, {40, 0x02}}) {
    command[at] = value;
  }
  const std::pair<std::vector<uint8_t>, uint32_t> known[] = {
      {std::vector<uint8_t>(32, 0), 0x8a9136aau},
      {std::vector<uint8_t>(32, 0xff), 0x62a8ab43u},
      {up, 0x46dd794eu},
      {down, 0x113fdb5cu},
      {command, 0xd9963a56u},
      {{}, 0u},
      {{'1', '2', '3', '4', '5', '6', '7', '8', '9'}, 0xe3069283u}};
  for (const auto& [values, answer] : known) {
    EXPECT_EQ(crc32c(bytes_of(values)), answer);
    EXPECT_EQ(crc32c_by_table(bytes_of(values)), answer);
  }
}

TEST(Crc32c, BothWaysAgreeAndJoin) {
  std::mt19937 random(3);
  for (size_t size = 0; size < 200; ++size) {
    std::vector<uint8_t> values(size + 8);
    for (uint8_t& value : values) value = static_cast<uint8_t>(random());
    const auto all = bytes_of(values).subspan(size % 8);  // every alignment
    EXPECT_EQ(crc32c(all), crc32c_by_table(all));
    const size_t cut = random() % (all.size() + 1);
    EXPECT_EQ(crc32c(all.subspan(cut), crc32c(all.first(cut))), crc32c(all));
    EXPECT_EQ(crc32c_by_table(all.subspan(cut), crc32c_by_table(all.first(cut))), crc32c(all));
  }
}

TEST(JsonText, DepthAndZeroBytes) {
  EXPECT_EQ(json_text_fault(std::string(64, '[')), "");
  EXPECT_NE(json_text_fault(std::string(65, '[')), "");
  EXPECT_NE(json_text_fault(std::string("{}\0x", 4)), "");
  EXPECT_EQ(json_text_fault(R"(["[[[[\\\"[[[[", {}])" + std::string(60, '[')), "");
  std::string siblings;
  for (int i = 0; i < 1000; ++i) siblings += "[{}]";
  EXPECT_EQ(json_text_fault(siblings), "");
}

TEST(JsonText, LongValuesAreCut) {
  EXPECT_EQ(show_json(nlohmann::json::array({1, "a"})), R"([1,"a"])");
  const std::string shown = show_json(std::string(1000, 'x'));
  EXPECT_EQ(shown.size(), 83u);
  EXPECT_TRUE(shown.ends_with("x..."));
  EXPECT_NO_THROW(show_json("\xff"));
}

TEST(Utf8, PrefixesEndBetweenCharacters) {
  EXPECT_EQ(utf8_prefix("abc", 3), "abc");
  EXPECT_EQ(utf8_prefix("a\xc3\xa4", 2), "a");
  EXPECT_EQ(utf8_prefix("\xf0\x9f\x98\x80", 3), "");
  EXPECT_EQ(utf8_prefix("\x80\x80\x80\x80\x80\x80", 5).size(), 2u) << "no UTF-8";
}

}  // namespace
}  // namespace fovea::io
