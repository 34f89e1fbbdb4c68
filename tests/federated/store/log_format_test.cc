// A segment's bytes: as documented, and damage told from a torn write.
#include "federated/store/log_format.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  absl::Status status;
  std::vector<std::string> records;
  int64_t end = 0;
};

Outcome ReadAll(const std::string& bytes, int64_t end = -1) {
  Outcome outcome;
  const auto file = SpanReader(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  auto reader = SegmentReader::Open(*file, "00000001.log", end);
  outcome.status = reader.status();
  if (!reader.ok()) return outcome;
  std::string payload;
  while (true) {
    const auto more = reader->Next(payload);
    outcome.status = more.status();
    outcome.end = reader->offset();
    if (!more.ok() || !*more) return outcome;
    outcome.records.push_back(payload);
  }
}

// Each written when all before it was on the disk, but for the last `unsynced`.
std::string Segment(const std::vector<std::string>& records, size_t unsynced = 0) {
  std::string bytes = EncodeSegmentHeader({});
  int64_t synced = kSegmentHeaderBytes;
  for (size_t i = 0; i < records.size(); ++i) {
    if (i + unsynced <= records.size()) synced = static_cast<int64_t>(bytes.size());
    EncodeRecord(static_cast<int64_t>(i), synced, records[i], bytes);
  }
  return bytes;
}

// docs/federated-log.md has these bytes.
TEST(LogFormat, IsAsDocumented) {
  EXPECT_EQ(absl::BytesToHexString(EncodeSegmentHeader({2, 7, 1234}).substr(0, 36)),
            "44534645444c4f47"  // DSFEDLOG
            "01000000"          // format
            "02000000"          // segment
            "0700000000000000"  // first record
            "d204000000000000"  // bytes of the one before that count
            "00000000");
  std::string record;
  EncodeRecord(7, 40, "{}", record);
  EXPECT_EQ(record.size(), size_t{kRecordOverheadBytes + 2});
  EXPECT_EQ(record.substr(0, 4), "DSR1");
  EXPECT_EQ(absl::BytesToHexString(record.substr(8, 4)), "02000000");
  EXPECT_EQ(absl::BytesToHexString(record.substr(16)),
            "0700000000000000"
            "2800000000000000"
            "7b7d0a");
}

TEST(LogFormat, EveryCutOfTheLastRecordIsATornWrite) {
  const std::string whole = Segment({"first", std::string(700, 'r')});
  const size_t second = kSegmentHeaderBytes + kRecordOverheadBytes + 5;
  for (size_t size = second; size < whole.size(); ++size) {
    const Outcome outcome = ReadAll(whole.substr(0, size));
    ASSERT_TRUE(outcome.status.ok()) << size << ": " << outcome.status;
    ASSERT_EQ(outcome.records, std::vector<std::string>{"first"}) << size;
    ASSERT_EQ(outcome.end, static_cast<int64_t>(second));
  }
  EXPECT_EQ(ReadAll(whole).records.size(), 2u);
}

// A record that was acknowledged must not be lost to a flipped bit: not the last one either, and
// not by a length that leads beyond the end.
TEST(LogFormat, EveryFlippedBitIsDamage) {
  const std::string whole = Segment({"first", std::string(1500, 'r'), "last"});
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const Outcome outcome = ReadAll(flipped);
    ASSERT_TRUE(absl::IsDataLoss(outcome.status)) << "bit " << bit << ": " << outcome.status;
    ASSERT_THAT(std::string(outcome.status.message()), HasSubstr("00000001.log at byte "));
  }
}

// A file that got its length but not its bytes.
TEST(LogFormat, SectorsOfTheLastWriteThatAreZerosAreTorn) {
  const std::string whole = Segment({"first", std::string(3000, 'r'), "x"}, /*unsynced=*/2);
  const size_t second = kSegmentHeaderBytes + kRecordOverheadBytes + 5;
  for (size_t sector = second / 512; sector * 512 < whole.size(); ++sector) {
    std::string lost = whole;
    for (size_t at = std::max(second, sector * 512); at < std::min(lost.size(), sector * 512 + 512);
         ++at)
      lost[at] = 0;
    const Outcome outcome = ReadAll(lost);
    ASSERT_TRUE(outcome.status.ok()) << "sector " << sector << ": " << outcome.status;
    ASSERT_GE(outcome.records.size(), 1u);
    ASSERT_LE(outcome.records.size(), 2u);
  }
  const Outcome longer = ReadAll(whole + std::string(10000, '\0'));
  EXPECT_TRUE(longer.status.ok()) << longer.status;
  EXPECT_EQ(longer.records.size(), 3u);
}

// The same zeros in a record that a later one saw on the disk.
TEST(LogFormat, ALostSectorBeforeASyncedRecordIsDamage) {
  const std::string whole = Segment({"first", std::string(3000, 'r'), "x"}, /*unsynced=*/1);
  const size_t second = kSegmentHeaderBytes + kRecordOverheadBytes + 5;
  for (size_t sector = second / 512; (sector + 1) * 512 < whole.size() - 40; ++sector) {
    std::string lost = whole;
    for (size_t at = std::max(second, sector * 512); at < sector * 512 + 512; ++at) lost[at] = 0;
    const Outcome outcome = ReadAll(lost);
    ASSERT_TRUE(absl::IsDataLoss(outcome.status)) << "sector " << sector << ": " << outcome.status;
  }
}

TEST(LogFormat, ASegmentThatIsNotTheLastHasNoTornEnd) {
  const std::string whole = Segment({"first", "second"});
  const auto size = static_cast<int64_t>(whole.size());
  EXPECT_EQ(ReadAll(whole, size).records.size(), 2u);
  EXPECT_EQ(ReadAll(whole + "void", size).records.size(), 2u);
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(whole, size - 1).status));
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(whole, size + 1).status));
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(whole.substr(0, whole.size() - 1), size).status));
}

TEST(LogFormat, RecordsOutOfOrderAreDamage) {
  std::string bytes = EncodeSegmentHeader({1, 5, 0});
  EncodeRecord(5, 40, "a", bytes);
  EXPECT_TRUE(ReadAll(bytes).status.ok());
  EncodeRecord(5, 40, "again", bytes);
  EXPECT_TRUE(absl::IsDataLoss(ReadAll(bytes).status));
}

}  // namespace
}  // namespace ds::federated
