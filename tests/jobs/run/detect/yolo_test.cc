#include "jobs/run/detect/yolo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr ImageSize kInput{64, 96};

absl::StatusOr<std::vector<Box>> Decoded(std::vector<int64_t> dims,
                                         const std::vector<float>& values,
                                         const YoloOptions& options = {}) {
  const YoloOutput output{std::move(dims), values};
  return DecodeYolo({&output, 1}, kInput, options);
}

void ExpectBox(const Box& box, const Box& expected) {
  EXPECT_NEAR(box.x0, expected.x0, 1e-4);
  EXPECT_NEAR(box.y0, expected.y0, 1e-4);
  EXPECT_NEAR(box.x1, expected.x1, 1e-4);
  EXPECT_NEAR(box.y1, expected.y1, 1e-4);
  EXPECT_NEAR(box.score, expected.score, 1e-6);
  EXPECT_EQ(box.label, expected.label);
}

TEST(DecodeYolo, RowsOfYolov5) {
  const std::vector<float> rows = {
      20, 30, 8,  4, 0.9F,  0.1F, 0.8F, 0.2F,  // shown
      20, 30, 8,  4, 0.9F,  0.1F, 0.2F, 0.2F,  // its score is not above 0.25
      5,  6,  2,  2, 0.2F,  1,    1,    1,     // no object
      50, 40, 10, 6, 0.75F, 0.7F, 0.7F, 0.1F,  // of equal classes the first
      1,  1,  1,  1, 0,     0,    0,    0,     //
      1,  1,  1,  1, 0,     0,    0,    0,     //
      1,  1,  1,  1, 0,     0,    0,    0,     //
      1,  1,  1,  1, 0,     0,    0,    0,     //
      1,  1,  1,  1, 0,     0,    0,    0,
  };
  const auto boxes = Decoded({1, 9, 8}, rows);
  ASSERT_TRUE(boxes.ok()) << boxes.status();
  ASSERT_EQ(boxes->size(), 2U);
  ExpectBox((*boxes)[0], {16, 28, 24, 32, 0.72F, 1});
  ExpectBox((*boxes)[1], {45, 37, 55, 43, 0.525F, 0});
}

TEST(DecodeYolo, ColumnsOfYolov8) {
  // Three boxes more than numbers, so that the form is told by the dims.
  std::vector<float> values(6 * 9, 0);
  const auto set = [&](size_t box, const std::vector<float>& numbers) {
    for (size_t i = 0; i < numbers.size(); ++i) values[i * 9 + box] = numbers[i];
  };
  set(2, {20, 30, 8, 4, 0.3F, 0.6F});
  set(7, {50, 40, 10, 6, 0.5F, 0.1F});
  const auto boxes = Decoded({1, 6, 9}, values);
  ASSERT_TRUE(boxes.ok()) << boxes.status();
  ASSERT_EQ(boxes->size(), 2U);
  ExpectBox((*boxes)[0], {16, 28, 24, 32, 0.6F, 1});
  ExpectBox((*boxes)[1], {45, 37, 55, 43, 0.5F, 0});
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Both layouts of heads against the decode as YOLOv5's Detect writes it, in double precision, and
// against each other; grids in another order than their anchors.
TEST(DecodeYolo, HeadsOfYolov5) {
  constexpr int64_t kAnchors = 2, kNumbers = 7;
  const std::vector<std::vector<float>> anchors = {{10, 13, 16, 30}, {30, 61, 62, 45}};
  const ImageSize grids[] = {{4, 6}, {8, 12}};  // strides 16 and 8: the coarse one first
  std::mt19937 random(3);
  std::normal_distribution<float> logit(0, 2);
  std::vector<std::vector<float>> last(2), first(2);
  std::vector<YoloOutput> by_cell, by_channel;
  std::vector<Box> expected;
  for (size_t g = 0; g < 2; ++g) {
    const int64_t h = grids[g].height, w = grids[g].width;
    last[g].resize(static_cast<size_t>(kAnchors * kNumbers * h * w));
    first[g].resize(last[g].size());
    for (size_t i = 0; i < last[g].size(); ++i) last[g][i] = logit(random);
    for (int64_t a = 0; a < kAnchors; ++a) {
      for (int64_t at = 0; at < h * w; ++at) {
        for (int64_t n = 0; n < kNumbers; ++n)
          first[g][static_cast<size_t>((a * kNumbers + n) * h * w + at)] =
              last[g][static_cast<size_t>((a * h * w + at) * kNumbers + n)];
      }
    }
    by_cell.push_back({{1, kAnchors, h, w, kNumbers}, last[g]});
    by_channel.push_back({{1, kAnchors * kNumbers, h, w}, first[g]});
  }
  for (const size_t g : {1, 0}) {  // the finest first
    const int64_t h = grids[g].height, w = grids[g].width;
    const double stride = static_cast<double>(kInput.height) / static_cast<double>(h);
    for (int64_t a = 0; a < kAnchors; ++a) {
      for (int64_t at = 0; at < h * w; ++at) {
        const float* t = &last[g][static_cast<size_t>((a * h * w + at) * kNumbers)];
        const auto& anchor = anchors[1 - g];
        const double x = (2 * Sigmoid(t[0]) - 0.5 + static_cast<double>(at % w)) * stride;
        const double y = (2 * Sigmoid(t[1]) - 0.5 + static_cast<double>(at / w)) * stride;
        const double bw = std::pow(2 * Sigmoid(t[2]), 2) * anchor[static_cast<size_t>(2 * a)];
        const double bh = std::pow(2 * Sigmoid(t[3]), 2) * anchor[static_cast<size_t>(2 * a + 1)];
        const int64_t label = t[6] > t[5];
        const double score = Sigmoid(t[4]) * Sigmoid(std::max(t[5], t[6]));
        if (score <= 0.25) continue;
        expected.push_back({static_cast<float>(x - bw / 2), static_cast<float>(y - bh / 2),
                            static_cast<float>(x + bw / 2), static_cast<float>(y + bh / 2),
                            static_cast<float>(score), label});
      }
    }
  }
  ASSERT_GT(expected.size(), 20U);
  for (const auto& outputs : {by_cell, by_channel}) {
    const auto boxes = DecodeYolo(outputs, kInput, {.anchors = anchors});
    ASSERT_TRUE(boxes.ok()) << boxes.status();
    ASSERT_EQ(boxes->size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) ExpectBox((*boxes)[i], expected[i]);
  }
}

TEST(DecodeYolo, NumbersThatAreNoneAreNoBoxes) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> rows(8 * 6, 0);
  const std::vector<std::vector<float>> bad = {
      {nan, 1, 1, 1, 1, 1}, {1, 1, infinity, 1, 1, 1}, {1, 1, 1, 1, nan, 1}, {1, 1, 1, 1, 1, nan}};
  for (size_t i = 0; i < bad.size(); ++i)
    std::copy(bad[i].begin(), bad[i].end(), rows.begin() + static_cast<long>(6 * i));
  const auto boxes = Decoded({1, 8, 6}, rows);
  ASSERT_TRUE(boxes.ok()) << boxes.status();
  EXPECT_TRUE(boxes->empty());
}

TEST(DecodeYolo, OutputsOfNoDetectorAreRefusedWithTheirDims) {
  const std::vector<float> values(64, 0);
  EXPECT_THAT(std::string(Decoded({1, 64}, values).status().message()),
              HasSubstr("the model's outputs are [1, 64]"));
  EXPECT_THAT(std::string(Decoded({1, 8, 8}, values).status().message()),
              HasSubstr("give --detector"));
  EXPECT_THAT(std::string(Decoded({2, 8, 4}, values).status().message()), HasSubstr("[2, 8, 4]"));
  EXPECT_THAT(std::string(Decoded({1, 16, 4}, values).status().message()),
              HasSubstr("[1, N, 5 + C]"));
  EXPECT_THAT(std::string(Decoded({1, 4, 16}, values).status().message()),
              HasSubstr("[1, 4 + C, N]"));
  EXPECT_THAT(std::string(Decoded({1, 16, 2, 2}, values).status().message()),
              HasSubstr("--anchors"));
  EXPECT_THAT(
      std::string(
          Decoded({1, 16, 2, 2}, values, {.anchors = {{1, 2, 3, 4, 5, 6}}}).status().message()),
      HasSubstr("with 3 anchors a grid"));
  EXPECT_FALSE(DecodeYolo({}, kInput, {}).ok());
}

TEST(ParseAnchors, TakesPairsOfPixelsByGrid) {
  const auto anchors = ParseAnchors("10,13,16,30;62,45");
  ASSERT_TRUE(anchors.ok()) << anchors.status();
  EXPECT_THAT(*anchors, ElementsAre(ElementsAre(10, 13, 16, 30), ElementsAre(62, 45)));
  for (const char* bad : {"", "10", "10,x", "10,-1", "1,2;", "1,2,3", "nan,1", "inf,1"})
    EXPECT_THAT(std::string(ParseAnchors(bad).status().message()), HasSubstr("--anchors")) << bad;
}

}  // namespace
}  // namespace ds
