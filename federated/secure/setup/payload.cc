#include "federated/secure/setup/payload.h"

#include "absl/strings/str_cat.h"

namespace ds::federated::secure {

void PayloadWriter::Bits(const std::vector<bool>& bits) {
  for (size_t first = 0; first < bits.size(); first += 8) {
    uint8_t byte = 0;
    for (size_t i = first; i < bits.size() && i < first + 8; ++i) {
      if (bits[i]) byte = static_cast<uint8_t>(byte | (1 << (i - first)));
    }
    U8(byte);
  }
}

void PayloadReader::Fail(absl::string_view why) {
  if (status_.ok()) status_ = absl::DataLossError(absl::StrCat(what_, ": ", why));
  rest_ = {};
}

absl::string_view PayloadReader::Raw(size_t size) {
  if (size > rest_.size()) {
    Fail("cut short");
    return {};
  }
  const absl::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

uint64_t PayloadReader::Number(int size) {
  const absl::string_view bytes = Raw(static_cast<size_t>(size));
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

uint32_t PayloadReader::U32(uint32_t most) {
  const auto value = static_cast<uint32_t>(Number(4));
  if (value <= most) return value;
  Fail(absl::StrCat("a number of ", value, ", at most ", most, " can be"));
  return 0;
}

int64_t PayloadReader::NotNegative() {
  const int64_t value = I64();
  if (value >= 0) return value;
  Fail("a negative number");
  return 0;
}

uint32_t PayloadReader::Count(uint32_t most, size_t size) {
  const uint32_t count = U32(most);
  if (count * uint64_t{size} <= rest_.size()) return count;
  Fail("cut short");
  return 0;
}

std::vector<bool> PayloadReader::Bits(size_t count) {
  const absl::string_view bytes = Raw((count + 7) / 8);
  std::vector<bool> bits(count);
  for (size_t i = 0; i < bytes.size() * 8; ++i) {
    const bool set = (static_cast<uint8_t>(bytes[i / 8]) >> (i % 8)) & 1;
    if (i < count) {
      bits[i] = set;
    } else if (set) {
      Fail("bits behind the last one");
      break;
    }
  }
  return bits;
}

absl::Status PayloadReader::Finish() {
  if (!rest_.empty()) Fail(absl::StrCat(rest_.size(), " bytes too many"));
  return status_;
}

}  // namespace ds::federated::secure
