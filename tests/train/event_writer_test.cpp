#include "fovea/train/event_writer.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/io/crc32c.h"
#include "fovea/io/file.h"
#include "fovea/train/event_record.h"
#include "tests/io/scratch.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace fovea::train {
namespace {

EventWriterOptions at_time(double seconds) {
  EventWriterOptions options;
  options.clock = [seconds] { return seconds; };
  return options;
}

// One grey pixel, as in scripts/parity_tests/events_golden.py.
std::string grey_png() {
  const std::string file = io::read_file(FOVEA_TEST_DATA "/events/first.bin");
  const size_t begin = file.find("\x89PNG"), end = file.find("IEND") + 8;
  return file.substr(begin, end - begin);
}

// The records of a file, after checking every length and check sum.
std::vector<std::string> records_of(const std::string& file) {
  std::vector<std::string> records;
  const auto masked = [](const std::string& bytes) {
    const uint32_t crc = io::crc32c(io::as_bytes(bytes));
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
  };
  for (size_t at = 0; at < file.size();) {
    uint64_t length = 0;
    uint32_t length_crc = 0, data_crc = 0;
    std::memcpy(&length, file.data() + at, 8);
    std::memcpy(&length_crc, file.data() + at + 8, 4);
    EXPECT_EQ(length_crc, masked(file.substr(at, 8)));
    records.push_back(file.substr(at + 12, length));
    std::memcpy(&data_crc, file.data() + at + 12 + length, 4);
    EXPECT_EQ(data_crc, masked(records.back()));
    at += 16 + length;
  }
  return records;
}

TEST(EventWriter, EqualsWhatTensorBoardWrites) {
  const io::ScratchFolder folder;
  EventWriter first(folder / "logs", at_time(1000.5));
  for (int step = 0; step < 5; ++step) first.scalar("train/loss", 2.0 - step / 4.0, step);
  const std::string png = grey_png();
  first.image("maps/0", {1, 1, 1, png}, 3);
  first.scalar("val/top1", 61.25, 300);
  EXPECT_EQ(io::read_file(first.path()), io::read_file(FOVEA_TEST_DATA "/events/first.bin"));
  EXPECT_EQ(records_of(io::read_file(first.path())).size(), 8u);

  auto options = at_time(2000.25);
  options.resume_step = 2;
  EventWriter resumed(folder / "logs", options);
  resumed.scalar("train/loss", test::kInfinity, 3);
  resumed.sync();
  EXPECT_EQ(io::read_file(resumed.path()), io::read_file(FOVEA_TEST_DATA "/events/resumed.bin"));
}

TEST(EventWriter, LaterFilesSortAfterEarlierOnes) {
  const io::ScratchFolder folder;
  const EventWriter first(folder.path(), at_time(1700000000.9));
  const EventWriter same_second(folder.path(), at_time(1700000000.9));
  const EventWriter clock_set_back(folder.path(), at_time(1600000000));
  EXPECT_LT(first.path(), same_second.path());
  EXPECT_LT(same_second.path(), clock_set_back.path());
  EXPECT_TRUE(first.path().filename().string().starts_with("events.out.tfevents.1700000000."));
  EXPECT_TRUE(clock_set_back.path().filename().string().starts_with("events.out.tfevents.1700000002."));
}

TEST(EventWriter, AnUnwritableFolderIsOneClearError) {
  const io::ScratchFolder folder;
  io::write_atomically(folder / "file", "");
  expect_error(ErrorKind::other, {"Not a directory"}, [&] { EventWriter writer(folder / "file"); });
}

TEST(ProtoMessage, VarintsAndFields) {
  EXPECT_EQ(ProtoMessage().integer(1, 150).text(), "\x08\x96\x01");         // protobuf.dev, Encoding
  EXPECT_EQ(ProtoMessage().bytes(2, "testing").text(), "\x12\x07testing");  // the same
  EXPECT_EQ(ProtoMessage().integer(1, -1).text(), "\x08" + std::string(9, '\xff') + "\x01");
  EXPECT_EQ(ProtoMessage().integer(16, 0).text(), std::string("\x80\x01\x00", 3));
  EXPECT_EQ(ProtoMessage().float32(1, 1.0f).text(), std::string("\x0d\x00\x00\x80\x3f", 5));
  EXPECT_EQ(ProtoMessage().float64(1, 1.0).text(), std::string("\x09\x00\x00\x00\x00\x00\x00\xf0\x3f", 9));
}

}  // namespace
}  // namespace fovea::train
