#include "jobs/run/detect/average_precision.h"

#include <gtest/gtest.h>

namespace ds {
namespace {

Box At(float x, float score = 0, int64_t label = 0) { return {x, 0, x + 10, 10, score, label}; }

TEST(AveragePrecision, IsOneWhereAllIsFoundAndNothingElseAboveIt) {
  AveragePrecision precision;
  precision.Add(std::vector<Box>{At(0, 0.9F), At(100, 0.8F), At(50, 0.1F)},
                std::vector<Box>{At(0), At(100)});
  EXPECT_EQ(precision.Mean(), 1);
  EXPECT_EQ(precision.true_boxes(), 2);
}

// Right, wrong, right: precision 1 up to a recall of 1/2 (51 of the 101 points), then 2/3.
TEST(AveragePrecision, SamplesThePrecisionAtRecallsAsCocoDoes) {
  AveragePrecision precision;
  precision.Add(std::vector<Box>{At(0, 0.9F), At(50, 0.8F)}, std::vector<Box>{At(0)});
  precision.Add(std::vector<Box>{At(0, 0.7F)}, std::vector<Box>{At(0)});
  EXPECT_NEAR(precision.Mean(), (51 + 50 * 2.0 / 3) / 101, 1e-12);
}

TEST(AveragePrecision, ATrueBoxIsFoundOnce) {
  AveragePrecision precision;
  precision.Add(std::vector<Box>{At(0, 0.8F), At(0, 0.9F)}, std::vector<Box>{At(0), At(100)});
  EXPECT_NEAR(precision.Mean(), 51.0 / 101, 1e-12) << "half is found, the second is wrong";
}

TEST(AveragePrecision, TheBetterOverlapIsTaken) {
  AveragePrecision precision;
  // The best box lies on the second true one; the other one is left for the first.
  precision.Add(std::vector<Box>{At(2, 0.9F), At(0, 0.8F)}, std::vector<Box>{At(0), At(3)});
  EXPECT_EQ(precision.Mean(), 1);
}

TEST(AveragePrecision, OverlapBelowTheThresholdIsWrong) {
  AveragePrecision half(0.5F), strict(0.9F);
  for (AveragePrecision* precision : {&half, &strict})
    precision->Add(std::vector<Box>{At(2, 0.9F)}, std::vector<Box>{At(0)});  // 8 / 12
  EXPECT_EQ(half.Mean(), 1);
  EXPECT_EQ(strict.Mean(), 0);
}

TEST(AveragePrecision, LabelsCountApartAndThoseWithoutTrueBoxesDoNot) {
  AveragePrecision precision;
  precision.Add(std::vector<Box>{At(0, 0.9F, 1), At(0, 0.9F, 2), At(0, 0.9F, 7)},
                std::vector<Box>{At(0, 0, 1), At(50, 0, 2)});
  EXPECT_EQ(precision.OfLabels(), (std::map<int64_t, double>{{1, 1.0}, {2, 0.0}}));
  EXPECT_EQ(precision.Mean(), 0.5);
}

TEST(AveragePrecision, OfNothingIsNothing) {
  AveragePrecision precision;
  EXPECT_EQ(precision.Mean(), 0);
  precision.Add({}, {});
  EXPECT_TRUE(precision.OfLabels().empty());
}

}  // namespace
}  // namespace ds
