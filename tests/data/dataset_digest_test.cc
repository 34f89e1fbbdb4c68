// Copies of a data set that differ are told apart, whatever their kind.
#include "data/dataset_digest.h"

#include <filesystem>
#include <string>

#include "data/sets/open_dataset.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using testing::Bytes;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

DatasetDigest DigestOf(const std::string& type, const std::string& path,
                       const std::string& split = "train") {
  DatasetOptions options;
  options.type = type;
  options.path = path;
  options.split = split;
  options.sequence_length = 8;
  const auto data = OpenDataset(options);
  EXPECT_TRUE(data.ok()) << data.status();
  const absl::StatusOr<DatasetDigest> digest = (*data)->Digest();
  EXPECT_TRUE(digest.ok()) << digest.status();
  return *digest;
}

void WriteIdx(const testing::TempFolder& folder, const Bytes& images, const Bytes& labels) {
  folder.Write("train-images-idx3-ubyte", images);
  folder.Write("train-labels-idx1-ubyte", labels);
}

TEST(DatasetDigest, OfIdxFilesCoversEveryByte) {
  const Bytes images = testing::IdxImageFile(13, 4, 5), labels = testing::IdxLabelFile(13);
  const testing::TempFolder folder;
  WriteIdx(folder, images, labels);
  const DatasetDigest whole = DigestOf("idx", folder.path());
  EXPECT_EQ(whole.covers, "all bytes");
  // The same data elsewhere, packed.
  const testing::TempFolder packed;
  packed.Write("train-images-idx3-ubyte.gz", testing::Gzip(images));
  packed.Write("train-labels-idx1-ubyte", labels);
  EXPECT_EQ(DigestOf("idx", packed.path()).value, whole.value);
  // One bit of any pixel or label, all of the same count.
  const size_t image_header = images.size() - 13 * 4 * 5, label_header = labels.size() - 13;
  for (size_t i = image_header; i < images.size(); i += 7) {
    Bytes changed = images;
    changed[i] ^= 1;
    WriteIdx(folder, changed, labels);
    EXPECT_NE(DigestOf("idx", folder.path()).value, whole.value) << i;
  }
  for (size_t i = label_header; i < labels.size(); ++i) {
    Bytes changed = labels;
    changed[i] ^= 1;
    WriteIdx(folder, images, changed);
    EXPECT_NE(DigestOf("idx", folder.path()).value, whole.value) << i;
  }
}

TEST(DatasetDigest, OfTextCoversEveryByteOfTheSplit) {
  const testing::TempFolder folder;
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i * i % 26);
  const std::string path = folder.Write("text.txt", absl::string_view(text));
  const DatasetDigest whole = DigestOf("text", path), test = DigestOf("text", path, "test");
  EXPECT_EQ(whole.covers, "all bytes");
  EXPECT_NE(whole.value, test.value);
  text[500] ^= 1;
  folder.Write("text.txt", absl::string_view(text));
  EXPECT_NE(DigestOf("text", path).value, whole.value);
  EXPECT_EQ(DigestOf("text", path, "test").value, test.value) << "it is the other split's byte";
}

TEST(DatasetDigest, OfPicturesCoversNamesAndFiles) {
  const auto write = [](const testing::TempFolder& folder, uint8_t pixel, const char* name) {
    const Bytes one(4 * 4 * 3, 7), other(4 * 4 * 3, pixel);
    folder.Write("train/cat/a.png", testing::EncodePng(one, 4, 4, 3));
    folder.Write(name, testing::EncodePng(other, 4, 4, 3));
  };
  const testing::TempFolder a, same, changed, renamed;
  write(a, 9, "train/dog/b.png");
  write(same, 9, "train/dog/b.png");
  write(changed, 8, "train/dog/b.png");
  write(renamed, 9, "train/dog/c.png");
  const DatasetDigest digest = DigestOf("images", a.path());
  EXPECT_EQ(digest.covers, "all names, and the bytes of 2 of 2 files");
  EXPECT_EQ(DigestOf("images", same.path()).value, digest.value);
  EXPECT_NE(DigestOf("images", changed.path()).value, digest.value);
  EXPECT_NE(DigestOf("images", renamed.path()).value, digest.value);
}

TEST(DatasetDigest, OfWhatIsDrawnSamples) {
  DatasetOptions options;
  options.type = "synthetic";
  const auto digest = [&] { return *(*OpenDataset(options))->Digest(); };
  const DatasetDigest first = digest();
  EXPECT_EQ(first.covers, "64 of 1024 samples");
  EXPECT_EQ(digest().value, first.value);
  options.seed = 1;
  EXPECT_NE(digest().value, first.value);
}

TEST(EvenlySpread, TakesFirstAndLastAndNoMoreThanThereAre) {
  EXPECT_THAT(EvenlySpread(0, 4), IsEmpty());
  EXPECT_THAT(EvenlySpread(1, 4), ElementsAre(0));
  EXPECT_THAT(EvenlySpread(3, 4), ElementsAre(0, 1, 2));
  EXPECT_THAT(EvenlySpread(10, 4), ElementsAre(0, 3, 6, 9));
  EXPECT_THAT(EvenlySpread(1000, 1), ElementsAre(0));
}

}  // namespace
}  // namespace ds
