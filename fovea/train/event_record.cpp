#include "fovea/train/event_record.h"

#include <bit>

#include "fovea/io/crc32c.h"
#include "fovea/io/file.h"

namespace fovea::train {
namespace {

enum WireType { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  for (char& byte : bytes) {
    byte = static_cast<char>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

std::string masked_crc(std::string_view data) {
  return little_endian<uint32_t>(std::rotr(io::crc32c(io::as_bytes(data)), 15) + 0xa282ead8u);
}

}  // namespace

void ProtoMessage::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) text_ += static_cast<char>((value & 0x7f) | 0x80);
  text_ += static_cast<char>(value);
}

void ProtoMessage::key(int number, int type) { varint(static_cast<uint64_t>(number) << 3 | type); }

ProtoMessage& ProtoMessage::integer(int number, int64_t value) {
  key(number, kVarint);
  varint(static_cast<uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::float64(int number, double value) {
  key(number, kFixed64);
  text_ += little_endian(std::bit_cast<uint64_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::float32(int number, float value) {
  key(number, kFixed32);
  text_ += little_endian(std::bit_cast<uint32_t>(value));
  return *this;
}

ProtoMessage& ProtoMessage::bytes(int number, std::string_view value) {
  key(number, kLength);
  varint(value.size());
  text_ += value;
  return *this;
}

std::string tf_record(std::string_view data) {
  const std::string length = little_endian<uint64_t>(data.size());
  std::string record = length + masked_crc(length);
  record += data;
  return record + masked_crc(data);
}

}  // namespace fovea::train
