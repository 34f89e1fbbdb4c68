#include "jobs/run/detect/suppression.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::FloatEq;

std::vector<float> Scores(const std::vector<Box>& boxes) {
  std::vector<float> scores;
  for (const Box& box : boxes) scores.push_back(box.score);
  return scores;
}

TEST(IntersectionOverUnion, IsTheShareOfWhatBothCover) {
  const Box box{0, 0, 10, 10};
  EXPECT_FLOAT_EQ(IntersectionOverUnion(box, box), 1);
  EXPECT_FLOAT_EQ(IntersectionOverUnion(box, {5, 0, 15, 10}), 50.0F / 150);
  EXPECT_FLOAT_EQ(IntersectionOverUnion(box, {2, 2, 4, 4}), 4.0F / 100);
  EXPECT_EQ(IntersectionOverUnion(box, {10, 0, 20, 10}), 0) << "they only touch";
  EXPECT_EQ(IntersectionOverUnion(box, {3, 3, 3, 9}), 0) << "no area";
  EXPECT_EQ(IntersectionOverUnion({4, 4, 2, 2}, {4, 4, 2, 2}), 0) << "corners the wrong way round";
}

TEST(Suppress, KeepsTheBestOfWhatOverlapsAndSortsIt) {
  const std::vector<Box> boxes = {
      {0, 0, 10, 10, 0.5F, 0}, {1, 0, 11, 10, 0.9F, 0}, {20, 0, 30, 10, 0.6F, 0}};
  EXPECT_THAT(Scores(Suppress(boxes, {})), ElementsAre(0.9F, 0.6F));
}

TEST(Suppress, ComparesBoxesOfOneLabelUnlessAskedForAll) {
  const std::vector<Box> boxes = {{0, 0, 10, 10, 0.9F, 0}, {0, 0, 10, 10, 0.8F, 1}};
  EXPECT_THAT(Scores(Suppress(boxes, {})), ElementsAre(0.9F, 0.8F));
  EXPECT_THAT(Scores(Suppress(boxes, {.across_labels = true})), ElementsAre(0.9F));
}

TEST(Suppress, OnlyOverlapAboveTheThresholdCounts) {
  const std::vector<Box> boxes = {{0, 0, 10, 10, 0.9F, 0}, {0, 0, 10, 5, 0.8F, 0}};  // exactly 0.5
  EXPECT_EQ(Suppress(boxes, {.iou = 0.5F}).size(), 2U);
  EXPECT_EQ(Suppress(boxes, {.iou = 0.49F}).size(), 1U);
}

// What a suppressed box hides is not hidden by it.
TEST(Suppress, WhatIsGoneHidesNothing) {
  const std::vector<Box> boxes = {
      {0, 0, 10, 10, 0.9F, 0}, {4, 0, 14, 10, 0.8F, 0}, {8, 0, 18, 10, 0.7F, 0}};
  EXPECT_THAT(Scores(Suppress(boxes, {.iou = 0.3F})), ElementsAre(0.9F, 0.7F));
}

TEST(Suppress, EqualScoresStayInTheirOrder) {
  const std::vector<Box> boxes = {{0, 0, 10, 10, 0.5F, 3}, {0, 0, 10, 10, 0.5F, 1}};
  const std::vector<Box> kept = Suppress(boxes, {.across_labels = true});
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].label, 3);
}

TEST(Suppress, BoundsWhatItKeepsAndWhatItCompares) {
  std::vector<Box> boxes;
  for (int i = 0; i < 50; ++i) {
    const auto at = static_cast<float>(20 * i);
    boxes.push_back({at, 0, at + 10, 10, 0.3F + 0.01F * static_cast<float>(i), 0});
  }
  EXPECT_THAT(Scores(Suppress(boxes, {.most_kept = 2})),
              ElementsAre(FloatEq(0.79F), FloatEq(0.78F)));
  EXPECT_EQ(Suppress(boxes, {.most_compared = 7}).size(), 7U);
  EXPECT_TRUE(Suppress({}, {}).empty());
}

// Against the definition: box i stays where no better one that stays overlaps it.
TEST(Suppress, IsTheGreedyDefinitionOnRandomBoxes) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> place(0, 100), size(1, 40), score(0, 1);
  std::vector<Box> boxes;
  for (int i = 0; i < 400; ++i) {
    const float x = place(random), y = place(random);
    boxes.push_back({x, y, x + size(random), y + size(random), score(random), i % 3});
  }
  const std::vector<Box> kept = Suppress(boxes, {.iou = 0.2F, .most_kept = 400});
  EXPECT_GT(kept.size(), 20U);
  EXPECT_LT(kept.size(), 300U);
  for (const Box& box : boxes) {
    bool stays = false, hidden = false;
    for (const Box& other : kept) {
      stays = stays || other.score == box.score;
      hidden = hidden || (other.score > box.score && other.label == box.label &&
                          IntersectionOverUnion(other, box) > 0.2F);
    }
    EXPECT_NE(stays, hidden) << box.score;
  }
}

}  // namespace
}  // namespace ds
