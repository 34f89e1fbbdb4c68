// IDX, gzip and CIFAR parsers on right and damaged bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "data/sets/cifar.h"
#include "data/sets/idx.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using testing::Bytes;
using ::testing::HasSubstr;

TEST(Idx, ReadsPlainAndGzipAlike) {
  const Bytes plain = testing::IdxImageFile(3, 5, 7);
  for (const Bytes& bytes : {plain, testing::Gzip(plain)}) {
    auto images = ParseIdxImages(bytes, "x");
    ASSERT_TRUE(images.ok()) << images.status();
    EXPECT_EQ(images->count, 3);
    EXPECT_EQ(images->height, 5);
    EXPECT_EQ(images->width, 7);
    EXPECT_EQ(images->pixels, Bytes(plain.begin() + 16, plain.end()));
  }
}

TEST(Idx, ReadsLabelsOfSizesZeroAndOne) {
  for (uint32_t count : {0u, 1u, 13u}) {
    auto labels = ParseIdxLabels(testing::Gzip(testing::IdxLabelFile(count)), "x");
    ASSERT_TRUE(labels.ok()) << labels.status();
    EXPECT_EQ(labels->size(), count);
  }
}

TEST(Idx, JoinsGzipMembers) {
  const Bytes plain = testing::IdxLabelFile(100);
  Bytes joined = testing::Gzip(Bytes(plain.begin(), plain.begin() + 50));
  const Bytes second = testing::Gzip(Bytes(plain.begin() + 50, plain.end()));
  joined.insert(joined.end(), second.begin(), second.end());
  auto labels = ParseIdxLabels(joined, "x");
  ASSERT_TRUE(labels.ok()) << labels.status();
  EXPECT_EQ(labels->size(), 100u);
}

// A damaged file: how it came about, and what its one error must say.
struct Damage {
  const char* name;
  Bytes bytes;
  const char* says;
};

Bytes With(Bytes bytes, size_t offset, std::initializer_list<uint8_t> values) {
  std::copy(values.begin(), values.end(), bytes.begin() + offset);
  return bytes;
}

Bytes First(const Bytes& bytes, size_t count) {
  return Bytes(bytes.begin(), bytes.begin() + count);
}

Bytes Plus(Bytes bytes, size_t count) {
  bytes.insert(bytes.end(), count, 0x55);
  return bytes;
}

void ExpectDamage(const Damage& damage, const absl::Status& status) {
  EXPECT_FALSE(status.ok()) << damage.name;
  EXPECT_THAT(std::string(status.message()), HasSubstr(damage.says)) << damage.name;
  EXPECT_THAT(std::string(status.message()), HasSubstr("the-file")) << damage.name;
}

TEST(Idx, EveryDamagedImageFileHasOneClearError) {
  const Bytes good = testing::IdxImageFile(3, 5, 7);
  const Bytes gz = testing::Gzip(good);
  const Damage damages[] = {
      {"empty", {}, "ends inside its header"},
      {"half a header", First(good, 9), "ends inside its header of 16 bytes"},
      {"magic", With(good, 0, {1}), "magic number 0x01000803"},
      {"a text file", Bytes(100, 'a'), "magic number 0x61616161"},
      {"floats", With(good, 2, {0x0d}), "element type 0x0d"},
      {"labels", testing::IdxLabelFile(30), "1 dimensions where images have 3"},
      {"no height", With(good, 8, {0, 0, 0, 0}), "height 0"},
      {"huge width", With(good, 12, {0x7f, 0xff, 0xff, 0xff}), "width 2147483647"},
      {"too many", With(good, 4, {0xff, 0xff, 0xff, 0xff}), "over the limit"},
      {"one more promised", With(good, 7, {4}), "truncated: the header promises 156 bytes"},
      {"truncated", First(good, 120), "promises 121 bytes, the file has 120"},
      {"trailing", Plus(good, 2), "2 bytes follow the 121"},
      {"gzip of truncated", testing::Gzip(First(good, 100)), "the file has 100"},
      {"gzip of trailing", testing::Gzip(Plus(good, 5)), "inflates to more than the 121 bytes"},
      {"gzip bomb", testing::Gzip(Plus(good, 50 << 20)), "inflates to more than the 121 bytes"},
      {"gzip truncated", First(gz, gz.size() - 20), "it ends early"},
      {"gzip without its end", First(gz, gz.size() - 4), "it ends early"},
      {"gzip header only", First(gz, 5), "it ends early"},
      {"gzip checksum", With(gz, gz.size() - 8, {0, 0, 0, 0}), "incorrect data check"},
      {"gzip length", With(gz, gz.size() - 4, {9, 9}), "incorrect length check"},
      {"gzip trailing", Plus(gz, 3), "3 bytes follow the end"},
      {"gzip method", With(gz, 2, {7}), "unknown compression method"},
  };
  for (const Damage& damage : damages) {
    ExpectDamage(damage, ParseIdxImages(damage.bytes, "the-file").status());
  }
}

TEST(Idx, EveryDamagedLabelFileHasOneClearError) {
  const Bytes good = testing::IdxLabelFile(11);
  const Damage damages[] = {
      {"images", testing::IdxImageFile(1, 2, 3), "3 dimensions where labels have 1"},
      {"truncated", First(good, 18), "promises 19 bytes, the file has 18"},
      {"trailing", Plus(good, 1), "1 bytes follow"},
      {"header", First(good, 7), "header of 8 bytes"},
      {"too many", With(good, 4, {0xf0, 0, 0, 0}), "promises 4026531848 bytes, the file has 19"},
  };
  for (const Damage& damage : damages) {
    ExpectDamage(damage, ParseIdxLabels(damage.bytes, "the-file").status());
  }
}

// No single changed byte may crash the parser, and none may pass a gzip file's checksum with other
// pixels.
TEST(Idx, NoFlippedBitPassesTheGzipChecksum) {
  const Bytes good = testing::IdxImageFile(2, 3, 5);
  const Bytes gz = testing::Gzip(good);
  for (size_t i = 0; i < gz.size() * 8; ++i) {
    Bytes flipped = gz;
    flipped[i / 8] ^= 1 << (i % 8);
    auto images = ParseIdxImages(flipped, "x");
    if (images.ok()) {
      EXPECT_EQ(images->pixels, Bytes(good.begin() + 16, good.end())) << "bit " << i;
    }
  }
}

TEST(Cifar, ReadsRecordsOfBothVersions) {
  for (int classes : {10, 100}) {
    CifarRecords records;
    const auto status = ParseCifar(testing::CifarFile(23, classes), "x", classes, &records);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(records.labels.size(), 23u);
    EXPECT_EQ(records.labels[22], 22 % classes);
    EXPECT_EQ(records.pixels[22 * kCifarPixels + 100], 122);
  }
}

TEST(Cifar, EveryDamagedFileHasOneClearErrorAndAddsNothing) {
  const Bytes good = testing::CifarFile(3, 10);
  const Damage damages[] = {
      {"empty", {}, "0 bytes are no whole number"},
      {"truncated", First(good, good.size() - 1), "3072 left at byte 6146"},
      {"trailing", Plus(good, 1), "1 left at byte 9219"},
      {"the other version", testing::CifarFile(3, 100), "no whole number of CIFAR-10 records"},
      {"label", With(good, 3073, {10}), "byte 3073: label 10 is not in 0..9"},
  };
  for (const Damage& damage : damages) {
    CifarRecords records;
    ExpectDamage(damage, ParseCifar(damage.bytes, "the-file", 10, &records));
    EXPECT_TRUE(records.labels.empty() && records.pixels.empty()) << damage.name;
  }
  const Bytes fine = testing::CifarFile(2, 100);
  CifarRecords records;
  ExpectDamage({"coarse", {}, "coarse label 20 is not in 0..19"},
               ParseCifar(With(fine, 3074, {20}), "the-file", 100, &records));
  ExpectDamage({"fine", {}, "byte 3075: label 100"},
               ParseCifar(With(fine, 3075, {100}), "the-file", 100, &records));
}

}  // namespace
}  // namespace ds
