// The random part of the recipes: where crops lie, what is drawn how often, and that it depends on
// (seed, epoch, sample) alone. The colour operations themselves: recipe_test.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "data/image/image_resize.h"
#include "data/loader.h"
#include "data/recipe/mix.h"
#include "data/recipe/rand_augment.h"
#include "data/recipe/resized_crop.h"
#include "data/sets/open_dataset.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

// Pearson's statistic against equal shares; its mean is bins - 1, its deviation sqrt(2 (bins - 1)).
double ChiSquare(const std::vector<int>& counts) {
  double total = 0, sum = 0;
  for (const int count : counts) total += count;
  const double expected = total / static_cast<double>(counts.size());
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

void ExpectUniform(const std::vector<int>& counts) {
  const double free = static_cast<double>(counts.size()) - 1;
  EXPECT_LT(ChiSquare(counts), free + 5 * std::sqrt(2 * free));
  EXPECT_GT(ChiSquare(counts), free - 5 * std::sqrt(2 * free));
}

SampleRandom Random(int64_t sample) {
  return SampleRandom(3, RandomPurpose::kResizedCrop, 0, static_cast<uint64_t>(sample));
}

TEST(ResizedCrop, PartsHaveTheAreaAndTheRatioThatWasAskedFor) {
  constexpr int64_t kHeight = 2000, kWidth = 2000;  // rounding to pixels does not matter
  std::vector<int> areas(10), ratios(10), places(10);
  for (int64_t i = 0; i < 20000; ++i) {
    SampleRandom random = Random(i);
    const PixelBox box = DrawResizedCrop(0.08, kHeight, kWidth, random);
    ASSERT_GE(box.y, 0);
    ASSERT_GE(box.x, 0);
    ASSERT_LE(box.y + box.height, kHeight);
    ASSERT_LE(box.x + box.width, kWidth);
    const double area = static_cast<double>(box.height * box.width) / (kHeight * kWidth);
    const double ratio = std::log(static_cast<double>(box.width) / static_cast<double>(box.height));
    ASSERT_GT(area, 0.079);
    ASSERT_LE(std::abs(ratio), std::log(4.0 / 3) + 0.01);
    // Large parts of a long shape do not fit and are drawn again: only what always fits is uniform.
    if (area < 0.7) ++areas[static_cast<size_t>((area - 0.079999) / (0.7 - 0.079999) * 10)];
    if (area < 0.7 && std::abs(ratio) < std::log(4.0 / 3))
      ++ratios[static_cast<size_t>((ratio / std::log(4.0 / 3) + 1) * 5)];
    if (area < 0.7 && box.width < kWidth)
      ++places[static_cast<size_t>(10.0 * static_cast<double>(box.x) /
                                   static_cast<double>(kWidth - box.width + 1))];
  }
  ExpectUniform(areas);
  ExpectUniform(ratios);
  ExpectUniform(places);
}

TEST(ResizedCrop, WhereNoPartFitsTheMiddleIsTaken) {
  // Ten times as wide as high: a part of all the area never fits.
  SampleRandom random = Random(0);
  const PixelBox wide = DrawResizedCrop(1, 30, 300, random);
  EXPECT_EQ(wide.height, 30);
  EXPECT_EQ(wide.width, 40);
  EXPECT_EQ(wide.x, 130);
  const PixelBox high = DrawResizedCrop(1, 300, 30, random);
  EXPECT_EQ(high.width, 30);
  EXPECT_EQ(high.height, 40);
  EXPECT_EQ(high.y, 130);
  const PixelBox dot = DrawResizedCrop(0.08, 1, 1, random);
  EXPECT_EQ(dot.height * dot.width, 1);
}

DatasetInfo Info(int64_t size, int64_t side) {
  DatasetInfo info;
  info.size = size;
  info.height = info.width = side;
  return info;
}

TEST(Mix, MixupsShareIsBetaAndItsPartnersAreUniform) {
  std::vector<int> partners(16), shares(10);
  for (int64_t i = 0; i < 8000; ++i) {
    // Beta(1, 1) is uniform.
    const MixDraw draw = DrawMix({.mixup = 1}, Info(16, 32), 1, 2, i);
    ++partners[static_cast<size_t>(draw.partner)];
    ++shares[static_cast<size_t>(draw.share * 10)];
    EXPECT_EQ(draw.box.height * draw.box.width, 0);
  }
  ExpectUniform(partners);
  ExpectUniform(shares);
  // Beta(a, a) has variance 1 / (4 (2 a + 1)).
  for (const double shape : {0.2, 1.0, 4.0}) {
    double squares = 0;
    for (int64_t i = 0; i < 8000; ++i) {
      const double off = DrawMix({.mixup = shape}, Info(16, 32), 1, 2, i).share - 0.5;
      squares += off * off;
    }
    const double variance = 1 / (4 * (2 * shape + 1));
    EXPECT_NEAR(squares / 8000, variance, 0.05 * variance) << shape;
  }
}

TEST(Mix, CutmixLeavesTheShareOfTheBoxAndLiesInside) {
  int cuts = 0;
  for (int64_t i = 0; i < 2000; ++i) {
    const MixDraw draw = DrawMix({.cutmix = 1}, Info(16, 31), 1, 2, i);
    const PixelBox& box = draw.box;
    ASSERT_TRUE(box.y >= 0 && box.x >= 0 && box.y + box.height <= 31 && box.x + box.width <= 31);
    EXPECT_EQ(draw.share, 1 - static_cast<double>(box.height * box.width) / (31 * 31));
    cuts += DrawMix({.mixup = 1, .cutmix = 1}, Info(16, 31), 1, 2, i).box.height > 0;
  }
  EXPECT_NEAR(cuts, 1000, 150);  // some boxes are empty
}

TEST(Mix, CutmixsBoxesHaveTheSideTheirShareAsksForAroundUniformCentres) {
  constexpr int64_t kSide = 1000;
  std::vector<int> centres(10);
  for (int64_t i = 0; i < 4000; ++i) {
    // Beta(10^6, 10^6) is one half: sides of sqrt(1/2), clipped where the centre is near an edge.
    const MixDraw draw = DrawMix({.cutmix = 1e6}, Info(16, kSide), 1, 2, i);
    const double side = std::sqrt(0.5) * kSide;
    const bool left = draw.box.x == 0, right = draw.box.x + draw.box.width == kSide;
    const double begin = static_cast<double>(left ? draw.box.width : draw.box.x);
    const double middle = left ? begin - side / 2 : begin + side / 2;
    ++centres[static_cast<size_t>(std::clamp(middle / kSide * 10, 0.0, 9.0))];
    if (!left && !right) {
      ASSERT_NEAR(static_cast<double>(draw.box.width), side, 4);
    }
  }
  ExpectUniform(centres);
}

// A picture on which all operations differ.
std::vector<uint8_t> Planes() {
  std::vector<uint8_t> planes(3 * 20 * 20);
  for (size_t i = 0; i < planes.size(); ++i) planes[i] = static_cast<uint8_t>(40 + i * 37 % 150);
  return planes;
}

Picture In(std::vector<uint8_t>& planes) {
  return {.planes = absl::MakeSpan(planes), .channels = 3, .height = 20, .width = 20};
}

TEST(RandAugment, EveryOperationIsDrawnAsOftenInBothDirections) {
  constexpr int64_t kMagnitude = 12;
  // What comes out, and how many of the 28 pairs of operation and sign give it.
  std::map<std::vector<uint8_t>, int> shares;
  for (int operation = 0; operation < kRandAugmentOperations; ++operation) {
    for (const double sign : {-1.0, 1.0}) {
      std::vector<uint8_t> planes = Planes();
      ApplyOperation(operation, kMagnitude, sign, In(planes));
      ++shares[planes];
    }
  }
  ASSERT_GT(shares.size(), 20u);
  std::map<std::vector<uint8_t>, int> draws;
  constexpr int kDraws = 14000;
  for (int64_t i = 0; i < kDraws; ++i) {
    SampleRandom random(1, RandomPurpose::kRandAugment, 0, static_cast<uint64_t>(i));
    std::vector<uint8_t> planes = Planes();
    RandAugment({.rand_augment = 1, .rand_augment_magnitude = kMagnitude}, In(planes), random);
    ++draws[planes];
  }
  ASSERT_EQ(draws.size(), shares.size());
  for (const auto& [planes, share] : shares) {
    const double expected = kDraws * share / 28.0;
    EXPECT_NEAR(draws[planes], expected, 5 * std::sqrt(expected)) << share;
  }
}

TEST(RandAugment, StepsFollowEachOther) {
  // Two draws of posterise or solarise, say, differ from all that one draw gives.
  std::set<std::vector<uint8_t>> one, two;
  for (int64_t i = 0; i < 600; ++i) {
    for (const int64_t steps : {1, 2}) {
      SampleRandom random(1, RandomPurpose::kRandAugment, 0, static_cast<uint64_t>(i));
      std::vector<uint8_t> planes = Planes();
      RandAugment({.rand_augment = steps, .rand_augment_magnitude = 12}, In(planes), random);
      (steps == 1 ? one : two).insert(planes);
    }
  }
  EXPECT_GT(two.size(), 3 * one.size());
}

// The least, the mean and the greatest of `of` over many draws, on a picture of one colour.
std::array<double, 3> Range(const AugmentOptions& options, std::array<uint8_t, 3> color,
                            const std::function<double(double, double, double)>& of) {
  std::array<double, 3> range = {1e9, 0, -1e9};
  constexpr int kDraws = 4000;
  for (int64_t i = 0; i < kDraws; ++i) {
    SampleRandom random(1, RandomPurpose::kColor, 0, static_cast<uint64_t>(i));
    std::vector<uint8_t> planes(color.begin(), color.end());
    JitterColors(options,
                 {.planes = absl::MakeSpan(planes), .channels = 3, .height = 1, .width = 1},
                 random);
    const double value = of(planes[0], planes[1], planes[2]);
    range = {std::min(range[0], value), range[1] + value / kDraws, std::max(range[2], value)};
  }
  return range;
}

TEST(ColorJitter, FactorsAreUniformAroundOneAndTurnsAroundNone) {
  const auto brightness = Range({.brightness = 0.25}, {200, 200, 200},
                                [](double red, double, double) { return red / 200; });
  EXPECT_NEAR(brightness[0], 0.75, 0.006);
  EXPECT_NEAR(brightness[1], 1, 0.01);
  EXPECT_NEAR(brightness[2], 1.25, 0.006);
  // Away from its gray mean, as a share of what it was.
  const auto saturation =
      Range({.saturation = 0.25}, {160, 100, 100},
            [](double red, double green, double) { return (red - green) / 60; });
  EXPECT_NEAR(saturation[0], 0.75, 0.03);
  EXPECT_NEAR(saturation[1], 1, 0.02);
  EXPECT_NEAR(saturation[2], 1.25, 0.03);
  // Red turns to yellow or to magenta: a sixth of the circle for all of green, or of blue.
  const auto hue = Range({.hue = 0.1}, {250, 50, 50}, [](double, double green, double blue) {
    return (green - blue) / 200 / 6;
  });
  constexpr double kCode = 1.0 / 255;  // hues have 8 bits, and turns are cut to whole codes
  EXPECT_NEAR(hue[0], -0.1, 2 * kCode);
  EXPECT_NEAR(hue[1], 0, kCode);
  EXPECT_NEAR(hue[2], 0.1, 2 * kCode);
}

std::vector<Batch> Epoch(DataLoader& loader, int64_t epoch) {
  std::vector<Batch> batches;
  EXPECT_TRUE(loader.StartEpoch(epoch).ok());
  while (true) {
    auto batch = loader.Next();
    EXPECT_TRUE(batch.ok()) << batch.status();
    if (!batch.ok() || !batch->has_value()) return batches;
    batches.push_back(**std::move(batch));
  }
}

std::vector<float> Floats(const Tensor& tensor) {
  return {tensor.span<float>().begin(), tensor.span<float>().end()};
}

LoaderOptions Everything() {
  return {.batch_size = 4,
          .augment = {.horizontal_flip = true,
                      .resized_crop = 0.3,
                      .brightness = 0.4,
                      .contrast = 0.4,
                      .saturation = 0.4,
                      .hue = 0.1,
                      .rand_augment = 2,
                      .mixup = 0.5,
                      .cutmix = 1}};
}

TEST(Recipes, ThreadsAndRanksChangeNothingInASample) {
  DatasetOptions set = {.type = "synthetic", .height = 12, .width = 10, .classes = 5, .size = 24};
  const auto data = OpenDataset(set);
  ASSERT_TRUE(data.ok()) << data.status();
  LoaderOptions options = Everything();
  options.batch_size = 8;
  auto whole = *DataLoader::Create(*data, options);
  const std::vector<Batch> expected = Epoch(*whole, 1);
  ASSERT_EQ(expected.size(), 3u);
  EXPECT_EQ(expected[0].targets->shape(), (Shape{8, 5}));
  EXPECT_NE(Floats(expected[0].inputs[0].values), Floats(Epoch(*whole, 2)[0].inputs[0].values));
  options.batch_size = 4;
  options.world_size = 2;
  options.threads = 3;
  for (int rank = 0; rank < 2; ++rank) {
    options.rank = rank;
    auto loader = *DataLoader::Create(*data, options);
    const std::vector<Batch> batches = Epoch(*loader, 1);
    for (size_t b = 0; b < 3; ++b) {
      const std::vector<float> all = Floats(expected[b].inputs[0].values);
      const std::vector<float> mine = Floats(batches[b].inputs[0].values);
      const size_t sample = all.size() / 8;
      for (size_t i = 0; i < 4; ++i) {
        const size_t at = 2 * i + static_cast<size_t>(rank);
        EXPECT_TRUE(std::equal(mine.begin() + i * sample, mine.begin() + (i + 1) * sample,
                               all.begin() + at * sample));
        for (size_t k = 0; k < 5; ++k) {
          EXPECT_EQ(batches[b].targets->span<float>()[i * 5 + k],
                    expected[b].targets->span<float>()[at * 5 + k]);
        }
      }
    }
  }
}

TEST(Recipes, MixedTargetsAreWhatTheMixedPicturesAre) {
  DatasetOptions set = {.type = "synthetic", .height = 8, .width = 8, .classes = 4, .size = 32};
  const auto data = OpenDataset(set);
  ASSERT_TRUE(data.ok()) << data.status();
  for (const bool cut : {false, true}) {
    for (const bool channels_last : {false, true}) {
      LoaderOptions options = {.batch_size = 32, .shuffle = false, .channels_last = channels_last};
      const Batch plain = Epoch(**DataLoader::Create(*data, options), 3)[0];
      (cut ? options.augment.cutmix : options.augment.mixup) = 1;
      const Batch mixed = Epoch(**DataLoader::Create(*data, options), 3)[0];
      const std::vector<float> from = Floats(plain.inputs[0].values);
      const std::vector<float> to = Floats(mixed.inputs[0].values);
      for (int64_t i = 0; i < 32; ++i) {
        const MixDraw draw = DrawMix(options.augment, (*data)->info(), 0, 3, i);
        std::vector<float> target(4);
        target[plain.targets->span<int64_t>()[i]] += static_cast<float>(draw.share);
        target[plain.targets->span<int64_t>()[draw.partner]] += static_cast<float>(1 - draw.share);
        for (int64_t k = 0; k < 4; ++k)
          EXPECT_NEAR(mixed.targets->span<float>()[i * 4 + k], target[k], 1e-6);
        for (int64_t c = 0; c < 3; ++c) {
          for (int64_t y = 0; y < 8; ++y) {
            for (int64_t x = 0; x < 8; ++x) {
              const int64_t at = channels_last ? (y * 8 + x) * 3 + c : (c * 8 + y) * 8 + x;
              const float own = from[i * 192 + at], other = from[draw.partner * 192 + at];
              const bool inside = y >= draw.box.y && y < draw.box.y + draw.box.height &&
                                  x >= draw.box.x && x < draw.box.x + draw.box.width;
              const double share = !cut ? draw.share : inside ? 0 : 1;
              ASSERT_NEAR(to[i * 192 + at], share * own + (1 - share) * other, 1e-5);
            }
          }
        }
      }
    }
  }
}

TEST(Recipes, AJpegsPartIsWhatTheWholePictureHasThere) {
  constexpr int kHeight = 150, kWidth = 203;
  testing::Bytes pixels;
  for (int y = 0; y < kHeight; ++y) {
    for (int x = 0; x < kWidth; ++x) {
      for (int c = 0; c < 3; ++c)
        pixels.push_back(
            static_cast<uint8_t>(128 + 60 * std::sin(x * 0.11 + c) + 50 * std::cos(y * 0.07 - c)));
    }
  }
  for (const bool progressive : {false, true}) {
    const testing::Bytes jpeg = testing::EncodeJpeg(pixels, kHeight, kWidth, 3, progressive);
    const auto whole = DecodeImage(jpeg, "x.jpg", {});
    ASSERT_TRUE(whole.ok());
    for (const PixelBox box :
         {PixelBox{0, 0, kHeight, kWidth}, PixelBox{17, 33, 60, 71}, PixelBox{149, 202, 1, 1},
          PixelBox{90, 150, 60, 53}, PixelBox{16, 16, 32, 32}}) {
      const auto part = DecodeCrop(
          jpeg, "x.jpg", {}, [&](int64_t, int64_t) { return box; }, 128, 128);
      ASSERT_TRUE(part.ok()) << part.status();
      std::vector<uint8_t> ours(128 * 128 * 3), expected(128 * 128 * 3);
      ResizeBox(part->image, part->box, 128, 128, absl::MakeSpan(ours));
      ResizeBox(*whole, internal::ToRealBox(box), 128, 128, absl::MakeSpan(expected));
      // At full size they are the same pixels.
      EXPECT_EQ(ours, expected) << box.y << " " << box.x << " " << progressive;
      // A smaller picture is decoded at a part of the size: alike, not the same.
      const auto small = DecodeCrop(
          jpeg, "x.jpg", {}, [&](int64_t, int64_t) { return box; }, 16, 16);
      std::vector<uint8_t> coarse(16 * 16 * 3), fine(16 * 16 * 3);
      ResizeBox(small->image, small->box, 16, 16, absl::MakeSpan(coarse));
      ResizeBox(*whole, internal::ToRealBox(box), 16, 16, absl::MakeSpan(fine));
      double off = 0;
      for (size_t i = 0; i < fine.size(); ++i) off += std::abs(coarse[i] - fine[i]);
      EXPECT_LT(off / static_cast<double>(fine.size()), 3);
    }
  }
}

}  // namespace
}  // namespace ds
