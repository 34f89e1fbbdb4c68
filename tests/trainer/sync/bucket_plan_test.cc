#include "trainer/sync/bucket_plan.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<int> InOrder(size_t count) {
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Backward delivers it last, when all else can be on its way: it must not hold up a half-full
// bucket.
TEST(BucketPlan, TheFirstUsedHasABucketOfItsOwnHoweverLarge) {
  const BucketPlan plan = PlanBuckets({40, 30, 130}, InOrder(3), 1 << 20);
  EXPECT_THAT(plan.bucket, ElementsAre(2, 1, 0));
  EXPECT_THAT(plan.sizes, ElementsAre(130, 30, 40));
}

TEST(BucketPlan, FillsFromTheLastUsedToTheFirst) {
  // A quarter of 400 is 100: each bucket takes parameters until it holds that.
  const BucketPlan plan = PlanBuckets({2, 98, 60, 40, 100, 100}, InOrder(6), 1 << 20);
  EXPECT_THAT(plan.sizes, ElementsAre(100, 100, 100, 98, 2));
  EXPECT_THAT(plan.bucket, ElementsAre(4, 3, 2, 2, 1, 0));
  EXPECT_THAT(plan.offset, ElementsAre(0, 0, 40, 0, 0, 0))
      << "within a bucket too, the last used comes first";
}

TEST(BucketPlan, FollowsTheOrderOfUseAndNotOfDeclaration) {
  const BucketPlan plan = PlanBuckets({10, 10, 10, 10}, {2, 0, 3, 1}, 10);
  EXPECT_THAT(plan.bucket, ElementsAre(2, 0, 3, 1));
}

TEST(BucketPlan, TheLastBucketIsSmallWhereSizesAllowIt) {
  // Full buckets hold 3200; the first four parameters used are 100 = 1/32 of that in all.
  std::vector<int64_t> sizes = {40, 30, 20, 10};
  sizes.insert(sizes.end(), 8, 1600);
  const BucketPlan plan = PlanBuckets(sizes, InOrder(sizes.size()), 3200);
  EXPECT_EQ(plan.sizes.size(), 5u);
  EXPECT_EQ(plan.sizes.back(), 100);
  // One element more, and the parameter that brings it stays behind.
  sizes[3] = 11;
  EXPECT_EQ(PlanBuckets(sizes, InOrder(sizes.size()), 3200).sizes.back(), 90);
}

TEST(BucketPlan, ZeroAndOneParameter) {
  EXPECT_THAT(PlanBuckets({}, {}, 1).sizes, IsEmpty());
  EXPECT_THAT(PlanBuckets({7}, {0}, 1).sizes, ElementsAre(7));
  EXPECT_THAT(PlanBuckets({1}, {0}, 1 << 20).sizes, ElementsAre(1));
}

// Whatever the sizes: every element has one place, buckets are contiguous, and their order is that
// of backward.
TEST(BucketPlan, CoversEveryParameterOnceInReverseOrderOfUse) {
  constexpr unsigned kSeed = 20260301;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", round " << round);
    std::vector<int64_t> sizes(1 + random() % 40);
    for (int64_t& size : sizes) size = int64_t{1} << (random() % 14);
    std::vector<int> order = InOrder(sizes.size());
    std::shuffle(order.begin(), order.end(), random);
    const int64_t capacity = int64_t{1} << (random() % 16);
    const BucketPlan plan = PlanBuckets(sizes, order, capacity);
    std::vector<int64_t> filled(plan.sizes.size(), 0);
    int current = 0;
    for (size_t at = order.size(); at-- > 0;) {
      const size_t parameter = static_cast<size_t>(order[at]);
      ASSERT_TRUE(plan.bucket[parameter] == current || plan.bucket[parameter] == current + 1);
      current = plan.bucket[parameter];
      ASSERT_EQ(plan.offset[parameter], filled[static_cast<size_t>(current)]);
      filled[static_cast<size_t>(current)] += sizes[parameter];
    }
    ASSERT_EQ(filled, plan.sizes);
    const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    const int64_t largest = *std::max_element(sizes.begin(), sizes.end());
    for (int64_t size : plan.sizes)
      ASSERT_LT(size, std::max<int64_t>(1, std::min(capacity, total / 4)) + largest);
    // A bucket overshoots its quarter by one parameter at most.
    const size_t fewest = largest <= total / 100 ? 4 : largest <= total / 8 ? 3 : 1;
    ASSERT_GE(plan.sizes.size(), fewest);
  }
}

}  // namespace
}  // namespace ds
