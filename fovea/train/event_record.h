#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace fovea::train {

/// A protobuf message in the making: each call appends a field, as a key (number << 3 | type), then the
/// value. Enough for TensorBoard's Event. Source: protobuf.dev, Encoding.
class ProtoMessage {
 public:
  ProtoMessage& integer(int number, int64_t value);
  ProtoMessage& float64(int number, double value);
  ProtoMessage& float32(int number, float value);
  ProtoMessage& bytes(int number, std::string_view value);
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t value);
  void key(int number, int type);

  std::string text_;
};

/// A TFRecord: length (8 bytes), its masked CRC, data, its masked CRC; little endian.
///   mask(crc) = rotate_right(crc, 15) + 0xa282ead8
/// Source: TensorFlow's documentation of TFRecord.
std::string tf_record(std::string_view data);

}  // namespace fovea::train
