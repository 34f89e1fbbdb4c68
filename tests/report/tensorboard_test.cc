// Decodes the files with a reader of its own, written from the formats: TFRecord, protocol buffers,
// event.proto.
#include "report/tensorboard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

namespace ds {
namespace {

// Bit by bit, and so nothing like the table in the writer.
uint32_t SlowCrc32c(const std::string& bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : bytes) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0u);
  }
  return ~crc;
}

uint32_t Unmask(uint32_t masked) {
  const uint32_t rotated = masked - 0xA282EAD8u;
  return (rotated >> 17) | (rotated << 15);
}

template <typename T>
T Load(const std::string& bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// The payloads of a file; a failure where framing or a checksum is wrong.
std::vector<std::string> Records(const std::string& file) {
  std::vector<std::string> records;
  for (size_t at = 0; at < file.size();) {
    if (at + 12 > file.size()) return ADD_FAILURE() << "cut off", records;
    const uint64_t length = Load<uint64_t>(file, at);
    EXPECT_EQ(Unmask(Load<uint32_t>(file, at + 8)), SlowCrc32c(file.substr(at, 8)));
    if (at + 16 + length > file.size()) return ADD_FAILURE() << "cut off", records;
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(Unmask(Load<uint32_t>(file, at + 12 + length)), SlowCrc32c(records.back()));
    at += 16 + length;
  }
  return records;
}

struct Message {
  std::map<int, uint64_t> numbers;  // varints
  std::map<int, std::string> raw;   // fixed and length-delimited
};

Message Decode(const std::string& bytes) {
  Message message;
  size_t at = 0;
  const auto varint = [&] {
    uint64_t value = 0;
    for (int shift = 0; at < bytes.size(); shift += 7) {
      const uint8_t b = static_cast<uint8_t>(bytes[at++]);
      value |= uint64_t{b & 0x7Fu} << shift;
      if (b < 0x80) break;
    }
    return value;
  };
  while (at < bytes.size()) {
    const uint64_t key = varint();
    const int field = static_cast<int>(key >> 3);
    size_t length = 0;
    switch (key & 7) {
      case 0:
        message.numbers[field] = varint();
        continue;
      case 1:
        length = 8;
        break;
      case 2:
        length = varint();
        break;
      case 5:
        length = 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return message;
    }
    EXPECT_LE(at + length, bytes.size());
    message.raw[field] = bytes.substr(at, length);
    at += length;
  }
  return message;
}

struct Scalar {
  std::string tag;
  float value;
};

Scalar ScalarOf(const Message& event) {
  const Message value = Decode(Decode(event.raw.at(5)).raw.at(1));
  return {value.raw.at(1), Load<float>(value.raw.at(2), 0)};
}

TEST(TensorBoard, AFileBeginsWithItsVersionAndHoldsEveryScalar) {
  const TempFolder folder;
  auto writer = TensorBoardWriter::Open(folder.File("events"));
  ASSERT_TRUE(writer.ok()) << writer.status();
  const int64_t steps[] = {0, 1, 127, 128, int64_t{1} << 40};
  for (const int64_t step : steps) {
    ASSERT_TRUE((*writer)->AddScalar("loss/train", step, 0.5 + static_cast<double>(step)).ok());
  }
  ASSERT_TRUE((*writer)->AddScalar("", 3, std::nan("")).ok());
  const std::vector<std::string> records = Records(ReadText((*writer)->path()));
  ASSERT_EQ(records.size(), 7u);
  const Message version = Decode(records[0]);
  EXPECT_EQ(version.raw.at(3), "brain.Event:2");
  EXPECT_GT(Load<double>(version.raw.at(1), 0), 1.6e9);
  for (size_t i = 0; i < 5; ++i) {
    const Message event = Decode(records[i + 1]);
    EXPECT_EQ(event.numbers.at(2), static_cast<uint64_t>(steps[i]));
    EXPECT_EQ(ScalarOf(event).tag, "loss/train");
    EXPECT_EQ(ScalarOf(event).value, static_cast<float>(0.5 + static_cast<double>(steps[i])));
  }
  EXPECT_TRUE(std::isnan(ScalarOf(Decode(records[6])).value));
}

TEST(TensorBoard, AResumedRunForgetsWhatFollowedItsCheckpoint) {
  const TempFolder folder;
  const auto first = TensorBoardWriter::Open(folder.path());
  const auto second = TensorBoardWriter::Open(folder.path(), 41);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_NE((*first)->path(), (*second)->path());
  EXPECT_LT((*first)->path(), (*second)->path()) << "TensorBoard reads in the order of names";
  const std::vector<std::string> records = Records(ReadText((*second)->path()));
  ASSERT_EQ(records.size(), 2u);
  const Message restart = Decode(records[1]);
  EXPECT_EQ(restart.numbers.at(2), 42u);
  EXPECT_EQ(Decode(restart.raw.at(7)).numbers.at(1), 1u);  // SessionLog.START
}

TEST(TensorBoard, AFolderThatCannotBeMadeIsNamed) {
  const auto writer = TensorBoardWriter::Open("/proc/nonexistent");
  ASSERT_FALSE(writer.ok());
  EXPECT_NE(std::string(writer.status().message()).find("/proc/nonexistent"), std::string::npos);
}

}  // namespace
}  // namespace ds
