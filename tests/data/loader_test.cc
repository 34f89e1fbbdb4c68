// Sharding, shuffling, augmentation and the threaded loader.
#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "data/augment.h"
#include "data/sample_random.h"
#include "data/sets/open_dataset.h"
#include "data/sharding.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

// Changing a number anywhere changes which stream it is; the same numbers give the same stream.
TEST(SampleRandom, StreamsAreToldApartByEveryPartOfTheirKey) {
  const auto first = [](uint64_t seed, RandomPurpose purpose, uint64_t a, uint64_t b) {
    return SampleRandom(seed, purpose, a, b).NextBlock();
  };
  const auto base = first(1, RandomPurpose::kAugment, 2, 3);
  EXPECT_EQ(base, first(1, RandomPurpose::kAugment, 2, 3));
  EXPECT_NE(base, first(2, RandomPurpose::kAugment, 2, 3));
  EXPECT_NE(base, first(1 | uint64_t{1} << 32, RandomPurpose::kAugment, 2, 3));
  EXPECT_NE(base, first(1, RandomPurpose::kShuffle, 2, 3));
  EXPECT_NE(base, first(1, RandomPurpose::kAugment, 3, 3));
  EXPECT_NE(base, first(1, RandomPurpose::kAugment, 2, 4));
  EXPECT_NE(base, first(1, RandomPurpose::kAugment, 2, 3 | uint64_t{1} << 32));
}

TEST(Sharding, EverySampleOnceOnOneRankAndRanksInterleave) {
  for (int world : {1, 2, 3, 5}) {
    for (int64_t size : {0, 1, 2, 29, 97, 120, 121}) {
      for (int64_t batch : {1, 4, 7}) {
        std::vector<int> seen(size);
        for (int rank = 0; rank < world; ++rank) {
          const Sharding shard{size, batch, rank, world, /*drop_last=*/false};
          const Sharding whole{size, batch * world, 0, 1, /*drop_last=*/false};
          ASSERT_EQ(shard.batches(), whole.batches()) << "every rank has as many batches";
          for (int64_t b = 0; b < shard.batches(); ++b) {
            const std::vector<int64_t> global = whole.Positions(b);
            const std::vector<int64_t> local = shard.Positions(b);
            ASSERT_LE(local.size(), static_cast<size_t>(batch));
            for (size_t i = 0; i < local.size(); ++i) {
              ++seen[local[i]];
              EXPECT_EQ(local[i], global[i * world + rank]);
            }
          }
        }
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), size)
            << "world " << world << " size " << size << " batch " << batch;
      }
    }
  }
}

TEST(Sharding, DropLastKeepsFullBatchesOnly) {
  for (int world : {1, 2, 3, 5}) {
    for (int64_t size : {7, 29, 97, 120}) {
      for (int rank = 0; rank < world; ++rank) {
        const Sharding shard{size, 4, rank, world, /*drop_last=*/true};
        EXPECT_EQ(shard.batches(), size / (4 * world));
        for (int64_t b = 0; b < shard.batches(); ++b) EXPECT_EQ(shard.Positions(b).size(), 4u);
      }
    }
  }
}

TEST(EpochOrder, IsAPermutationThatDependsOnSeedAndEpochOnly) {
  for (int64_t size : {0, 1, 2, 101, 1000}) {
    std::vector<int64_t> order = EpochOrder(size, true, 5, 3);
    EXPECT_EQ(order, EpochOrder(size, true, 5, 3));
    if (size > 2) {
      EXPECT_NE(order, EpochOrder(size, true, 5, 4));
      EXPECT_NE(order, EpochOrder(size, true, 6, 3));
    }
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, EpochOrder(size, false, 5, 3));
  }
}

// Over many epochs each sample comes first equally often: chi-squared with 9 degrees of freedom is
// below 27.9 with probability 0.999 (the seed is fixed, so this never flickers).
TEST(EpochOrder, PutsEverySampleFirstEquallyOften) {
  std::vector<int> first(10);
  for (int64_t epoch = 0; epoch < 10000; ++epoch) ++first[EpochOrder(10, true, 1, epoch)[0]];
  double chi_squared = 0;
  for (int count : first) chi_squared += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_LT(chi_squared, 27.9);
}

// The transform, pixel by pixel, as its header defines it.
std::vector<float> SlowTransform(const AugmentDraw& draw, const std::vector<uint8_t>& planes, int c,
                                 int h, int w, const std::vector<float>& mean,
                                 const std::vector<float>& stddev, bool channels_last) {
  std::vector<float> out(c * h * w);
  for (int k = 0; k < c; ++k) {
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        const int64_t from_y = y + draw.dy;
        const int64_t from_x = (draw.flip ? w - 1 - x : x) + draw.dx;
        float value = 0.0f;
        if (from_y >= 0 && from_y < h && from_x >= 0 && from_x < w) {
          value = static_cast<float>((planes[(k * h + from_y) * w + from_x] / 255.0 - mean[k]) /
                                     stddev[k]);
        }
        if (y >= draw.cut_y0 && y < draw.cut_y1 && x >= draw.cut_x0 && x < draw.cut_x1) value = 0;
        out[channels_last ? (y * w + x) * c + k : (k * h + y) * w + x] = value;
      }
    }
  }
  return out;
}

TEST(ImageTransform, MatchesItsDefinitionPixelByPixel) {
  const int h = 7, w = 5;
  for (int c : {1, 2, 3, 4}) {
    std::vector<uint8_t> planes(c * h * w);
    for (size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<uint8_t>(i * 37 + 11);
    const std::vector<float> mean = {0.1f, 0.2f, 0.3f, 0.4f}, stddev = {0.5f, 0.6f, 0.7f, 0.8f};
    for (bool channels_last : {false, true}) {
      const ImageTransform transform(c, h, w, absl::MakeSpan(mean).subspan(0, c),
                                     absl::MakeSpan(stddev).subspan(0, c), channels_last);
      // Padding beyond the picture's own size, too.
      AugmentOptions options{9, true, 3};
      for (int sample = 0; sample < 300; ++sample) {
        const AugmentDraw draw = DrawAugment(options, h, w, 1, 2, sample);
        std::vector<float> out(planes.size(), -99.0f);
        transform.Apply(draw, planes, out.data());
        ASSERT_EQ(out, SlowTransform(draw, planes, c, h, w, mean, stddev, channels_last))
            << "channels " << c << " sample " << sample << " dy " << draw.dy << " dx " << draw.dx
            << " flip " << draw.flip;
      }
    }
  }
}

TEST(DrawAugment, CoversItsRangeEvenlyAndIsOffByDefault) {
  const AugmentDraw off = DrawAugment({}, 28, 28, 1, 0, 0);
  EXPECT_TRUE(off.dy == 0 && off.dx == 0 && !off.flip && off.cut_y0 == off.cut_y1);
  std::vector<int> dy(9), dx(9);
  int flips = 0;
  const int n = 9000;
  for (int i = 0; i < n; ++i) {
    const AugmentDraw draw = DrawAugment({4, true, 8}, 28, 28, 1, 0, i);
    ++dy.at(draw.dy + 4);
    ++dx.at(draw.dx + 4);
    flips += draw.flip;
    EXPECT_TRUE(draw.cut_y0 >= 0 && draw.cut_y1 <= 28 && draw.cut_y1 - draw.cut_y0 >= 4);
  }
  // Five standard deviations of a binomial count.
  const double tolerance = 5 * std::sqrt(n / 9.0 * 8 / 9);
  for (int count : dy) EXPECT_NEAR(count, n / 9.0, tolerance);
  for (int count : dx) EXPECT_NEAR(count, n / 9.0, tolerance);
  EXPECT_NEAR(flips, n / 2.0, 5 * std::sqrt(n / 4.0));
}

// Sample i has the label i and the pixel i modulo 256; reading sample `bad` fails.
class Counting final : public Dataset {
 public:
  explicit Counting(int64_t size, int64_t bad = -1, int delay_ms = 0)
      : bad_(bad), delay_ms_(delay_ms) {
    info_.size = size;
    info_.channels = 3;
    info_.height = 4;
    info_.width = 5;
    info_.classes = size;
  }
  const DatasetInfo& info() const override { return info_; }
  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    ++reads;
    if (delay_ms_ > 0) std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms_));
    if (index == bad_) return absl::DataLossError(absl::StrCat("sample ", index, " is damaged"));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(index * 3 + i);
    *label = index;
    return absl::OkStatus();
  }
  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return absl::FailedPreconditionError("images");
  }
  mutable std::atomic<int64_t> reads{0};

 private:
  DatasetInfo info_;
  int64_t bad_;
  int delay_ms_;
};

LoaderOptions SmallBatches() {
  LoaderOptions options;
  options.batch_size = 4;
  options.seed = 11;
  options.augment = {2, true, 2};
  options.mean = {0.5f, 0.4f, 0.3f};
  options.stddev = {0.2f, 0.3f, 0.4f};
  return options;
}

std::unique_ptr<DataLoader> MustCreate(std::shared_ptr<const Dataset> data, LoaderOptions options) {
  auto loader = DataLoader::Create(std::move(data), std::move(options));
  EXPECT_TRUE(loader.ok()) << loader.status();
  return loader.ok() ? *std::move(loader) : nullptr;
}

std::vector<Batch> Epoch(DataLoader* loader, int64_t epoch, int64_t first = 0) {
  EXPECT_TRUE(loader->StartEpoch(epoch, first).ok());
  std::vector<Batch> batches;
  while (true) {
    auto batch = loader->Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok() || !batch->has_value()) return batches;
    batches.push_back(**std::move(batch));
  }
}

std::vector<float> Pixels(const Batch& batch, int64_t i) {
  const int64_t elements = batch.inputs[0].values.num_elements() / batch.size();
  const auto all = batch.inputs[0].values.span<float>();
  return {all.begin() + i * elements, all.begin() + (i + 1) * elements};
}

TEST(DataLoader, ThreadsAndRanksChangeNothingInASample) {
  auto data = std::make_shared<Counting>(97);
  for (bool drop_last : {false, true}) {
    for (int world : {1, 2, 3, 5}) {
      LoaderOptions options = SmallBatches();
      options.drop_last = drop_last;
      options.batch_size = 4 * world;
      options.threads = 1;
      auto whole = MustCreate(data, options);
      const std::vector<Batch> expected = Epoch(whole.get(), 2);
      options.batch_size = 4;
      options.world_size = world;
      options.threads = 3;
      for (int rank = 0; rank < world; ++rank) {
        options.rank = rank;
        auto loader = MustCreate(data, options);
        const std::vector<Batch> batches = Epoch(loader.get(), 2);
        ASSERT_EQ(batches.size(), expected.size());
        for (size_t b = 0; b < batches.size(); ++b) {
          EXPECT_EQ(batches[b].inputs[0].values.dim(0), batches[b].size());
          for (int64_t i = 0; i < batches[b].size(); ++i) {
            const int64_t at = i * world + rank;
            EXPECT_EQ(batches[b].targets->span<int64_t>()[i],
                      expected[b].targets->span<int64_t>()[at]);
            EXPECT_EQ(Pixels(batches[b], i), Pixels(expected[b], at));
          }
        }
      }
    }
  }
}

TEST(DataLoader, AnEpochHoldsEverySampleOnceInANewOrder) {
  auto loader_options = SmallBatches();
  loader_options.drop_last = false;
  auto loader = MustCreate(std::make_shared<Counting>(31), loader_options);
  EXPECT_EQ(loader->batches_per_epoch(), 8);
  std::vector<int64_t> orders[2];
  for (int epoch : {0, 1}) {
    for (const Batch& batch : Epoch(loader.get(), epoch)) {
      const auto labels = batch.targets->span<int64_t>();
      orders[epoch].insert(orders[epoch].end(), labels.begin(), labels.end());
    }
  }
  EXPECT_NE(orders[0], orders[1]);
  std::vector<int64_t> all(31);
  std::iota(all.begin(), all.end(), 0);
  for (auto& order : orders) {
    std::sort(order.begin(), order.end());
    EXPECT_EQ(order, all);
  }
}

TEST(DataLoader, ResumesInTheMiddleOfAnEpoch) {
  auto loader = MustCreate(std::make_shared<Counting>(97), SmallBatches());
  const std::vector<Batch> whole = Epoch(loader.get(), 3);
  ASSERT_EQ(whole.size(), 24u);
  for (int64_t first : {0, 1, 13, 23, 24}) {
    const std::vector<Batch> rest = Epoch(loader.get(), 3, first);
    ASSERT_EQ(rest.size(), whole.size() - first);
    for (size_t i = 0; i < rest.size(); ++i) {
      EXPECT_EQ(rest[i].targets->span<int64_t>(), whole[first + i].targets->span<int64_t>());
      EXPECT_EQ(rest[i].inputs[0].values.span<float>(),
                whole[first + i].inputs[0].values.span<float>());
    }
  }
  EXPECT_FALSE(loader->StartEpoch(3, 25).ok());
  EXPECT_FALSE(loader->StartEpoch(-1, 0).ok());
}

TEST(DataLoader, ABatchStaysAsItIsWhileOthersAreRecycled) {
  auto loader = MustCreate(std::make_shared<Counting>(97), SmallBatches());
  ASSERT_TRUE(loader->StartEpoch(0).ok());
  const Batch kept = **loader->Next();
  const std::vector<float> before(kept.inputs[0].values.span<float>().begin(),
                                  kept.inputs[0].values.span<float>().end());
  for (int epoch = 0; epoch < 5; ++epoch) Epoch(loader.get(), epoch);
  loader.reset();
  EXPECT_EQ(absl::MakeConstSpan(before), kept.inputs[0].values.span<float>());
}

TEST(DataLoader, TheLayoutIsWhatTheOptionSays) {
  auto options = SmallBatches();
  options.shuffle = false;
  options.augment = {};
  options.mean = options.stddev = {};
  for (bool channels_last : {false, true}) {
    options.channels_last = channels_last;
    auto loader = MustCreate(std::make_shared<Counting>(8), options);
    const Batch batch = Epoch(loader.get(), 0)[1];
    EXPECT_EQ(batch.channels_last, channels_last);
    EXPECT_EQ(batch.inputs[0].values.shape(), (Shape{4, 3, 4, 5}));
    // Sample 4 + 1, channel 2, row 1, column 3.
    const float value = Pixels(batch, 1)[channels_last ? (1 * 5 + 3) * 3 + 2 : (2 * 4 + 1) * 5 + 3];
    EXPECT_FLOAT_EQ(value, (5 * 3 + 2 * 20 + 5 + 3) / 255.0f);
  }
}

TEST(DataLoader, AWorkersErrorComesOutOfNextInOrderAndStays) {
  auto options = SmallBatches();
  options.shuffle = false;
  auto loader = MustCreate(std::make_shared<Counting>(97, /*bad=*/9), options);
  ASSERT_TRUE(loader->StartEpoch(0).ok());
  EXPECT_TRUE(loader->Next().ok());
  EXPECT_TRUE(loader->Next().ok());
  for (int i = 0; i < 3; ++i) {
    const auto batch = loader->Next();
    EXPECT_EQ(batch.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(batch.status().message()), HasSubstr("sample 9 is damaged"));
  }
  ASSERT_TRUE(loader->StartEpoch(0, 3).ok());
  EXPECT_TRUE(loader->Next().ok());
}

TEST(DataLoader, PrefetchIsBounded) {
  auto data = std::make_shared<Counting>(1000);
  auto options = SmallBatches();
  options.threads = 3;
  options.prefetch = 5;
  auto loader = MustCreate(data, options);
  ASSERT_TRUE(loader->StartEpoch(0).ok());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(loader->Next().ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(data->reads, (10 + 5) * 4);
}

TEST(DataLoader, GoesDownAndStartsAnewWithWorkPending) {
  for (int round = 0; round < 20; ++round) {
    auto options = SmallBatches();
    options.threads = 1 + round % 4;
    auto loader = MustCreate(std::make_shared<Counting>(400, -1, /*delay_ms=*/1), options);
    if (round % 5 == 0) continue;  // never started
    ASSERT_TRUE(loader->StartEpoch(0).ok());
    if (round % 2) {
      ASSERT_TRUE(loader->Next().ok());
    }
    ASSERT_TRUE(loader->StartEpoch(1).ok());
    if (round % 3) {
      ASSERT_TRUE(loader->Next().ok());
    }
  }
}

TEST(DataLoader, NextBeforeStartAndAfterTheEndAreDefined) {
  auto loader = MustCreate(std::make_shared<Counting>(5), SmallBatches());
  EXPECT_EQ(loader->Next().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Epoch(loader.get(), 0).size(), 1u);
  for (int i = 0; i < 2; ++i) {
    auto end = loader->Next();
    ASSERT_TRUE(end.ok());
    EXPECT_FALSE(end->has_value());
  }
}

TEST(DataLoader, TextBatchesPredictTheNextByte) {
  const testing::TempFolder folder;
  std::string text;
  for (int i = 0; i < 300; ++i) text.push_back(static_cast<char>(i));
  DatasetOptions data_options;
  data_options.type = "text";
  data_options.path = folder.Write("t", text);
  data_options.sequence_length = 6;
  auto data = OpenDataset(data_options);
  ASSERT_TRUE(data.ok()) << data.status();
  LoaderOptions options;
  options.batch_size = 5;
  auto loader = MustCreate(*data, options);
  for (const Batch& batch : Epoch(loader.get(), 0)) {
    EXPECT_EQ(batch.inputs[0].values.shape(), (Shape{5, 6}));
    EXPECT_EQ(batch.size(), 5);
    for (int i = 0; i < 30; ++i) {
      EXPECT_EQ(batch.targets->span<int64_t>()[i],
                (batch.inputs[0].values.span<int64_t>()[i] + 1) % 256);
    }
  }
  options.augment.horizontal_flip = true;
  EXPECT_FALSE(DataLoader::Create(*data, options).ok());
}

TEST(DataLoader, EveryWrongOptionHasOneClearError) {
  const struct {
    const char* says;
    std::function<void(LoaderOptions*)> spoil;
  } cases[] = {
      {"batch_size 0", [](LoaderOptions* o) { o->batch_size = 0; }},
      {"rank 2 is not in 0..1", [](LoaderOptions* o) { o->rank = o->world_size = 2; }},
      {"world_size 0", [](LoaderOptions* o) { o->world_size = 0; }},
      {"threads 0", [](LoaderOptions* o) { o->threads = 0; }},
      {"prefetch 0", [](LoaderOptions* o) { o->prefetch = 0; }},
      {"crop padding -1", [](LoaderOptions* o) { o->augment.crop_padding = -1; }},
      {"cutout -1", [](LoaderOptions* o) { o->augment.cutout = -1; }},
      {"mean has 2 values",
       [](LoaderOptions* o) {
         o->mean = {0, 0};
       }},
      {"stddev 0 must be above 0",
       [](LoaderOptions* o) {
         o->stddev = {1, 0, 1};
       }},
      {"mean nan",
       [](LoaderOptions* o) {
         o->mean = {0, NAN, 0};
       }},
      {"9 samples do not fill one batch of 10", [](LoaderOptions* o) { o->batch_size = 10; }},
  };
  for (const auto& wrong : cases) {
    LoaderOptions options = SmallBatches();
    wrong.spoil(&options);
    const auto loader = DataLoader::Create(std::make_shared<Counting>(9), options);
    EXPECT_EQ(loader.status().code(), absl::StatusCode::kInvalidArgument) << wrong.says;
    EXPECT_THAT(std::string(loader.status().message()), HasSubstr(wrong.says));
  }
  EXPECT_FALSE(DataLoader::Create(nullptr, LoaderOptions()).ok());
}

}  // namespace
}  // namespace ds
