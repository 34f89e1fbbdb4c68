#include <string>

#include "absl/strings/escaping.h"
#include "base/crc32c.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

// RFC 3720, appendix B.4, and the usual check value.
TEST(Crc32cTest, GivesTheChecksumsOfTheStandard) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62A8AB43u);
  std::string rising(32, '\0'), falling(32, '\0');
  for (int i = 0; i < 32; ++i) {
    rising[i] = static_cast<char>(i);
    falling[i] = static_cast<char>(31 - i);
  }
  EXPECT_EQ(Crc32c(rising), 0x46DD794Eu);
  EXPECT_EQ(Crc32c(falling), 0x113FDB5Cu);
}

TEST(Crc32cTest, PiecesGiveTheChecksumOfTheWhole) {
  const std::string text = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Crc32c(text.substr(cut), Crc32c(text.substr(0, cut))), Crc32c(text)) << cut;
  }
}

// TensorBoard's event files start with a record of 24 bytes: its length, then a3 7f 4b 22.
TEST(Crc32cTest, IsMaskedAsInATfRecord) {
  const std::string length = absl::HexStringToBytes("1800000000000000");
  EXPECT_EQ(MaskCrc32c(Crc32c(length)), 0x224b7fa3u);
}

}  // namespace
}  // namespace ds
