// Opening data sets: real Fashion-MNIST, CIFAR, text, synthetic, and what is said when they are
// missing or wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using ::testing::HasSubstr;

using Opened = absl::StatusOr<std::shared_ptr<const Dataset>>;

std::string Error(const Opened& opened) {
  EXPECT_FALSE(opened.ok());
  return std::string(opened.status().message());
}

struct Sample {
  Bytes pixels;
  int64_t label = -1;
};

Sample Read(const Dataset& data, int64_t index) {
  const DatasetInfo& info = data.info();
  Sample sample;
  sample.pixels.resize(info.channels * info.height * info.width);
  const auto status = data.ReadImage(index, absl::MakeSpan(sample.pixels), &sample.label);
  EXPECT_TRUE(status.ok()) << status;
  return sample;
}

DatasetOptions Options(const std::string& type, const std::string& path,
                       const std::string& split = "train") {
  DatasetOptions options;
  options.type = type;
  options.path = path;
  options.split = split;
  return options;
}

TEST(FashionMnist, HasTheKnownSizesLabelsAndMoments) {
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "Fashion-MNIST is not installed (Debian package dataset-fashion-mnist)";
  }
  auto train = OpenDataset(Options("idx", folder));
  auto test = OpenDataset(Options("idx", folder, "test"));
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ((*train)->info().size, 60000);
  EXPECT_EQ((*test)->info().size, 10000);
  EXPECT_EQ((*train)->info().classes, 10);
  EXPECT_EQ((*train)->info().channels, 1);
  EXPECT_EQ((*train)->info().height, 28);
  EXPECT_EQ((*train)->info().width, 28);
  const int64_t train_labels[] = {9, 0, 0, 3, 0, 2, 7, 2, 5, 5};
  const int64_t test_labels[] = {9, 2, 1, 1, 6, 1, 4, 6, 5, 7};
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Read(**train, i).label, train_labels[i]) << i;
    EXPECT_EQ(Read(**test, i).label, test_labels[i]) << i;
  }
  std::vector<float> mean, stddev;
  ASSERT_TRUE(MeanAndStddev(**train, 0, &mean, &stddev).ok());
  EXPECT_NEAR(mean[0], 0.2860, 5e-5);
  EXPECT_NEAR(stddev[0], 0.3530, 5e-5);
}

class IdxFolder : public ::testing::Test {
 protected:
  void Fill() {
    folder_.Write("train-images-idx3-ubyte.gz", testing::Gzip(testing::IdxImageFile(13, 4, 5)));
    folder_.Write("train-labels-idx1-ubyte", testing::IdxLabelFile(13));
    folder_.Write("t10k-images.idx3-ubyte", testing::IdxImageFile(3, 4, 5));
    folder_.Write("t10k-labels-idx1-ubyte.gz", testing::Gzip(testing::IdxLabelFile(3)));
  }
  testing::TempFolder folder_;
};

TEST_F(IdxFolder, MixesGzipPlainAndDottedNames) {
  Fill();
  auto train = OpenDataset(Options("idx", folder_.path()));
  auto test = OpenDataset(Options("idx", folder_.path(), "test"));
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ((*train)->info().size, 13);
  const Sample sample = Read(**train, 12);
  EXPECT_EQ(sample.label, 2);
  EXPECT_EQ(sample.pixels[3], static_cast<uint8_t>((12 * 20 + 3) * 7));
  EXPECT_EQ((*test)->info().classes, 10) << "the training labels have the say";
}

TEST_F(IdxFolder, ALabelThatStandsForNoClassIsReadAndNotCounted) {
  Fill();
  Bytes labels = testing::IdxLabelFile(13);
  labels[labels.size() - 1] = 255;
  folder_.Write("train-labels-idx1-ubyte", labels);
  DatasetOptions options = Options("idx", folder_.path());
  EXPECT_EQ((*OpenDataset(options))->info().classes, 256);
  options.ignored_label = 255;
  for (const char* split : {"train", "test"}) {
    options.split = split;
    EXPECT_EQ((*OpenDataset(options))->info().classes, 10) << split;
  }
  options.split = "train";
  const auto data = *OpenDataset(options);
  EXPECT_TRUE(data->info().notes.empty());
  LoaderOptions loading = {.batch_size = 13, .mean = {0}, .stddev = {1}};
  auto loader = DataLoader::Create(data, loading);
  ASSERT_TRUE(loader.ok() && (*loader)->StartEpoch(0).ok());
  const auto batch = (*loader)->Next();
  ASSERT_TRUE(batch.ok()) << batch.status();
  const auto read = (*batch)->targets->span<int64_t>();
  EXPECT_EQ(std::count(read.begin(), read.end(), 255), 1);
  loading.augment.mixup = 0.2;
  loader = DataLoader::Create(data, loading);
  ASSERT_TRUE(loader.ok() && (*loader)->StartEpoch(0).ok());
  EXPECT_THAT(std::string((*loader)->Next().status().message()),
              HasSubstr("its label 255 stands for no class (loss.ignore_index), and mixup"));
}

TEST_F(IdxFolder, LimitTakesTheFirstAndBadReadsAreRefused) {
  Fill();
  DatasetOptions options = Options("idx", folder_.path());
  options.limit = 7;
  auto data = OpenDataset(options);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->info().size, 7);
  Bytes pixels(20);
  int64_t label;
  EXPECT_FALSE((*data)->ReadImage(7, absl::MakeSpan(pixels), &label).ok());
  EXPECT_FALSE((*data)->ReadImage(-1, absl::MakeSpan(pixels), &label).ok());
  EXPECT_FALSE((*data)->ReadImage(0, absl::MakeSpan(pixels).subspan(1), &label).ok());
  std::vector<int64_t> tokens(3);
  EXPECT_FALSE((*data)->ReadText(0, absl::MakeSpan(tokens)).ok());
  options.limit = -1;
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("limit -1 is negative"));
}

TEST_F(IdxFolder, FilesThatDoNotBelongTogetherAreRefused) {
  Fill();
  folder_.Write("train-labels-idx1-ubyte", testing::IdxLabelFile(12));
  EXPECT_THAT(Error(OpenDataset(Options("idx", folder_.path()))),
              AllOf(HasSubstr("12 labels for the 13 images"), HasSubstr("train-labels")));
  folder_.Write("t10k-images.idx3-ubyte", testing::IdxImageFile(0, 4, 5));
  folder_.Write("t10k-labels-idx1-ubyte.gz", testing::Gzip(testing::IdxLabelFile(0)));
  EXPECT_THAT(Error(OpenDataset(Options("idx", folder_.path(), "test"))), HasSubstr("no images"));
}

TEST(MissingData, NamesEveryPlaceAndHowToGetIt) {
  const testing::TempFolder folder;
  const auto missing = OpenDataset(Options("idx", folder.path()));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Error(missing), AllOf(HasSubstr(folder.path() + "/train-images-idx3-ubyte[.gz]"),
                                    HasSubstr("apt-get install dataset-fashion-mnist")));
  EXPECT_THAT(Error(OpenDataset(Options("cifar10", folder.path()))),
              AllOf(HasSubstr(folder.path() + "/data_batch_1.bin"),
                    HasSubstr("cifar-10-batches-bin/data_batch_1.bin"),
                    HasSubstr("cifar-10-binary.tar.gz")));
  EXPECT_THAT(Error(OpenDataset(Options("cifar100", folder.path(), "test"))),
              AllOf(HasSubstr("/test.bin"), HasSubstr("cifar-100-binary.tar.gz")));
  EXPECT_THAT(Error(OpenDataset(Options("text", folder.path() + "/no.txt"))),
              AllOf(HasSubstr("/no.txt"), HasSubstr("any file will do")));
  for (const char* type : {"cifar10", "cifar100", "text", "images"}) {
    const auto opened = OpenDataset(Options(type, ""));
    if (opened.ok()) continue;  // somebody has it
    for (const std::string& place : DatasetSearchPath(type)) {
      EXPECT_THAT(Error(opened), HasSubstr(place));
    }
  }
  EXPECT_THAT(Error(OpenDataset(Options("mnist", ""))), HasSubstr("\"mnist\" is unknown"));
  EXPECT_THAT(Error(OpenDataset(Options("idx", "", "valid"))), HasSubstr("\"valid\" is unknown"));
}

TEST(Cifar10, ReadsAllBatchesAndClassNamesAlsoFromTheParentFolder) {
  const testing::TempFolder folder;
  for (int i = 1; i <= 5; ++i) {
    folder.Write("cifar-10-batches-bin/data_batch_" + std::to_string(i) + ".bin",
                 testing::CifarFile(i, 10));
  }
  folder.Write("cifar-10-batches-bin/batches.meta.txt",
               std::string("a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n"));
  auto data = OpenDataset(Options("cifar10", folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->info().size, 15);
  EXPECT_EQ((*data)->info().class_names.size(), 10u);
  EXPECT_EQ(Read(**data, 14).label, 4);
  EXPECT_EQ(Read(**data, 14).pixels[10], 14);
  folder.Write("cifar-10-batches-bin/data_batch_3.bin", Bytes(100));
  EXPECT_THAT(Error(OpenDataset(Options("cifar10", folder.path()))), HasSubstr("data_batch_3.bin"));
}

TEST(Cifar100, ReadsTheFineLabels) {
  const testing::TempFolder folder;
  folder.Write("test.bin", testing::CifarFile(57, 100));
  auto data = OpenDataset(Options("cifar100", folder.path(), "test"));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->info().classes, 100);
  EXPECT_EQ(Read(**data, 56).label, 56);
}

TEST(Text, WindowsCoverEachByteOnceAsInput) {
  const testing::TempFolder folder;
  std::string text;
  for (int i = 0; i < 1000; ++i) text.push_back(static_cast<char>(i * 31));
  DatasetOptions options = Options("text", folder.Write("t.txt", text));
  options.sequence_length = 7;
  auto train = OpenDataset(options);
  options.split = "test";
  auto test = OpenDataset(options);
  ASSERT_TRUE(train.ok()) << train.status();
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ((*train)->info().classes, 256);
  EXPECT_EQ((*train)->info().size, (900 - 1) / 7);
  EXPECT_EQ((*test)->info().size, (100 - 1) / 7);
  std::vector<int64_t> tokens(8);
  for (int64_t i = 0; i < (*train)->info().size; ++i) {
    ASSERT_TRUE((*train)->ReadText(i, absl::MakeSpan(tokens)).ok());
    for (int k = 0; k < 8; ++k) EXPECT_EQ(tokens[k], static_cast<uint8_t>((7 * i + k) * 31));
  }
  ASSERT_TRUE((*test)->ReadText(0, absl::MakeSpan(tokens)).ok());
  EXPECT_EQ(tokens[0], static_cast<uint8_t>(900 * 31));
}

// Resident memory of this process, bytes.
int64_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// A file of holes: large, and nothing on the disk.
TEST(Text, MemoryDoesNotGrowWithTheFile) {
  const testing::TempFolder folder;
  const std::string path = folder.Write("t.txt", "x");
  constexpr int64_t kBytes = int64_t{1} << 30;
  std::filesystem::resize_file(path, kBytes);
  DatasetOptions options = Options("text", path);
  options.sequence_length = 100;
  const int64_t before = ResidentBytes();
  auto train = OpenDataset(options);
  options.split = "test";
  auto test = OpenDataset(options);
  ASSERT_TRUE(train.ok() && test.ok());
  std::vector<int64_t> tokens(101);
  for (const auto* split : {&*train, &*test}) {
    for (const int64_t index : {int64_t{0}, (*split)->info().size - 1})
      ASSERT_TRUE((*split)->ReadText(index, absl::MakeSpan(tokens)).ok());
  }
  EXPECT_NEAR((*train)->info().size + (*test)->info().size, kBytes / 100, 2);
  EXPECT_LT(ResidentBytes() - before, kBytes / 32);
}

TEST(Text, EveryWrongUseHasOneClearError) {
  const testing::TempFolder folder;
  DatasetOptions options = Options("text", folder.Write("t.txt", std::string(20, 'x')));
  options.sequence_length = 18;
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("18 of 20 bytes, too few"));
  options.sequence_length = 17;
  EXPECT_TRUE(OpenDataset(options).ok());
  options.sequence_length = 0;
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("sequence_length 0"));
  options.sequence_length = 4;
  options.validation_fraction = 1.0;
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("validation_fraction 1"));
  options.validation_fraction = 0.0;
  options.split = "test";
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("0 of 20 bytes"));
  options = Options("text", folder.Write("empty.txt", std::string()));
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("0 of 0 bytes"));
  options.path = folder.path();
  EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("not a regular file"));
}

TEST(Synthetic, IsAPureFunctionOfSeedSplitAndIndex) {
  DatasetOptions options = Options("synthetic", "");
  options.height = 13;
  options.width = 7;
  options.size = 50;
  options.seed = 3;
  auto a = OpenDataset(options);
  auto b = OpenDataset(options);
  options.split = "test";
  auto test = OpenDataset(options);
  options.split = "train";
  options.seed = 4;
  auto other = OpenDataset(options);
  ASSERT_TRUE(a.ok() && b.ok() && test.ok() && other.ok());
  for (int i = 49; i >= 0; --i) {
    EXPECT_EQ(Read(**a, i).pixels, Read(**b, i).pixels);
    EXPECT_EQ(Read(**a, i).label, Read(**b, i).label);
    EXPECT_NE(Read(**a, i).pixels, Read(**test, i).pixels);
    EXPECT_NE(Read(**a, i).pixels, Read(**other, i).pixels);
  }
}

// The nearest class mean of the training split classifies the test split: there is something to
// learn, and it is the same in both.
TEST(Synthetic, TheNearestTrainingMeanClassifiesTheTestSplit) {
  DatasetOptions options = Options("synthetic", "");
  options.size = 500;
  auto train = OpenDataset(options);
  options.split = "test";
  auto test = OpenDataset(options);
  ASSERT_TRUE(train.ok() && test.ok());
  const size_t pixels = 3 * 32 * 32;
  std::vector<std::vector<double>> means(10, std::vector<double>(pixels));
  std::vector<int> counts(10);
  for (int i = 0; i < 500; ++i) {
    const Sample sample = Read(**train, i);
    ++counts[sample.label];
    for (size_t p = 0; p < pixels; ++p) means[sample.label][p] += sample.pixels[p];
  }
  for (int c = 0; c < 10; ++c) {
    ASSERT_GT(counts[c], 20);
    for (double& value : means[c]) value /= counts[c];
  }
  int right = 0;
  for (int i = 0; i < 500; ++i) {
    const Sample sample = Read(**test, i);
    int best = 0;
    double least = 1e300;
    for (int c = 0; c < 10; ++c) {
      double distance = 0;
      for (size_t p = 0; p < pixels; ++p) {
        const double d = sample.pixels[p] - means[c][p];
        distance += d * d;
      }
      if (distance < least) {
        least = distance;
        best = c;
      }
    }
    right += best == sample.label;
  }
  EXPECT_GT(right, 475);
}

TEST(Synthetic, EveryWrongOptionHasOneClearError) {
  for (int64_t DatasetOptions::*field :
       {&DatasetOptions::channels, &DatasetOptions::height, &DatasetOptions::width,
        &DatasetOptions::classes, &DatasetOptions::size}) {
    for (int64_t value : {int64_t{0}, int64_t{-5}, int64_t{1} << 50}) {
      DatasetOptions options = Options("synthetic", "");
      options.*field = value;
      EXPECT_THAT(Error(OpenDataset(options)), HasSubstr("is not in 1.."));
    }
  }
}

TEST(Statistics, AreExactOnKnownPixels) {
  const testing::TempFolder folder;
  Bytes images = testing::IdxImageFile(1, 2, 2);
  std::copy_n(Bytes{0, 0, 255, 255}.begin(), 4, images.begin() + 16);
  folder.Write("train-images-idx3-ubyte", images);
  folder.Write("train-labels-idx1-ubyte", testing::IdxLabelFile(1));
  auto data = OpenDataset(Options("idx", folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  std::vector<float> mean, stddev;
  ASSERT_TRUE(MeanAndStddev(**data, 0, &mean, &stddev).ok());
  EXPECT_EQ(mean, std::vector<float>{0.5f});
  EXPECT_EQ(stddev, std::vector<float>{0.5f});
}

TEST(IdxDataset, AStrayLabelIsSaidWithItsFileAndSample) {
  const testing::TempFolder folder;
  Bytes labels = testing::IdxLabelFile(20);
  labels[8 + 17] = 200;
  folder.Write("train-images-idx3-ubyte", testing::IdxImageFile(20, 2, 2));
  const std::string file = folder.Write("train-labels-idx1-ubyte", labels);
  auto data = OpenDataset(Options("idx", folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ((*data)->info().notes.size(), 1u);
  EXPECT_THAT((*data)->info().notes[0],
              HasSubstr(file + ": sample 17 has label 200, so there are 201 classes, but only 11"));
  folder.Write("train-labels-idx1-ubyte", testing::IdxLabelFile(20));
  data = OpenDataset(Options("idx", folder.path()));
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_TRUE((*data)->info().notes.empty());
}

// Sample i is one pixel i; from `bad` on, samples cannot be read.
class Ramp final : public Dataset {
 public:
  Ramp(int64_t size, int64_t bad, bool throws) : bad_(bad), throws_(throws) {
    info_.kind = SampleKind::kImage;
    info_.size = size;
    info_.channels = info_.height = info_.width = 1;
  }
  const DatasetInfo& info() const override { return info_; }
  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    if (index >= bad_ && throws_) throw std::bad_alloc();
    if (index >= bad_) return absl::DataLossError(absl::StrCat("sample ", index, " is torn"));
    pixels[0] = static_cast<uint8_t>(index);
    *label = 0;
    return absl::OkStatus();
  }
  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return absl::UnimplementedError("an image");
  }

 private:
  DatasetInfo info_;
  int64_t bad_;
  bool throws_;
};

TEST(Statistics, CountEverySampleOnceWhateverTheThreads) {
  for (int64_t size : {1, 2, 3, 7, 16, 17, 255}) {
    std::vector<float> mean, stddev;
    ASSERT_TRUE(MeanAndStddev(Ramp(size, size, false), 0, &mean, &stddev).ok());
    const double n = static_cast<double>(size);
    EXPECT_FLOAT_EQ(mean[0], static_cast<float>((n - 1) / 2 / 255)) << size;
    EXPECT_FLOAT_EQ(stddev[0], static_cast<float>(std::sqrt((n * n - 1) / 12) / 255)) << size;
  }
}

TEST(Statistics, TheFirstSampleThatCannotBeReadIsNamed) {
  std::vector<float> mean, stddev;
  for (int64_t bad : {0, 1, 7, 99}) {
    EXPECT_THAT(std::string(MeanAndStddev(Ramp(100, bad, false), 0, &mean, &stddev).message()),
                HasSubstr(absl::StrCat("sample ", bad, " is torn")));
  }
  EXPECT_EQ(MeanAndStddev(Ramp(100, 50, true), 0, &mean, &stddev).code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace ds
