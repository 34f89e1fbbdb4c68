#include "base/knapsack.h"

#include <cmath>
#include <limits>
#include <string>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using Groups = std::vector<std::vector<KnapsackItem>>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Every combination, tried out: infinity where none fits.
double LeastCost(const Groups& groups, double capacity, size_t group = 0, double weight = 0,
                 double cost = 0) {
  if (group == groups.size()) return weight <= capacity ? cost : kInfinity;
  double least = kInfinity;
  for (const KnapsackItem& item : groups[group]) {
    least = std::min(
        least, LeastCost(groups, capacity, group + 1, weight + item.weight, cost + item.cost));
  }
  return least;
}

// Bits of tensors as compression gives them: a bit less is a quarter more in error, noise included;
// errors are the weight, bytes the cost.
Groups RandomTensors(int tensors, uint64_t seed) {
  CounterRandom random(seed);
  Groups groups;
  for (int t = 0; t < tensors; ++t) {
    const double values = 10 + random.NextBelow(1000);
    const double scale = std::exp(3 * random.NextNormal());
    std::vector<KnapsackItem>& items = groups.emplace_back();
    for (int bits = 1; bits <= 5; ++bits) {
      items.push_back({scale * values * std::pow(0.25, bits) * (1 + 0.3 * random.NextDouble()),
                       std::floor(values * bits / 8) + 4});
    }
  }
  return groups;
}

double WeightOfOneWidth(const Groups& groups, size_t item) {
  double weight = 0;
  for (const std::vector<KnapsackItem>& items : groups) weight += items[item].weight;
  return weight;
}

TEST(Knapsack, IsAsCheapAsTryingAllCombinations) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Groups groups = RandomTensors(1 + static_cast<int>(seed % 6), seed);
    const double capacity = WeightOfOneWidth(groups, 3);
    const absl::StatusOr<Packing> packing = SolveKnapsack(groups, capacity);
    ASSERT_TRUE(packing.ok()) << packing.status();
    double weight = 0, cost = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      weight += groups[g][static_cast<size_t>(packing->chosen[g])].weight;
      cost += groups[g][static_cast<size_t>(packing->chosen[g])].cost;
    }
    EXPECT_LE(weight, capacity) << "seed " << seed;
    EXPECT_EQ(packing->weight, weight);
    EXPECT_EQ(packing->cost, cost);
    EXPECT_EQ(packing->cost, LeastCost(groups, capacity)) << "seed " << seed;
    EXPECT_EQ(packing->least_cost, packing->cost);
  }
}

// A budget that is one choice's own weight, to the last bit, admits that choice: what one width for
// all costs is never exceeded. As many tensors as a large network has.
TEST(Knapsack, TheReferenceItselfAlwaysFits) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Groups groups = RandomTensors(160, 100 + seed);
    for (size_t item = 0; item < 5; ++item) {
      double cost = 0;
      for (const std::vector<KnapsackItem>& items : groups) cost += items[item].cost;
      const double capacity = WeightOfOneWidth(groups, item);
      const absl::StatusOr<Packing> packing = SolveKnapsack(groups, capacity, 1 << 18);
      ASSERT_TRUE(packing.ok()) << packing.status();
      EXPECT_LE(packing->weight, capacity);
      EXPECT_LE(packing->cost, cost);
      // Whole or cut short, the bound says how little is left to gain.
      EXPECT_GE(packing->least_cost, 0.98 * packing->cost) << "seed " << seed << " item " << item;
    }
  }
}

TEST(Knapsack, GivingUpLeavesAValidPackingAndAnHonestBound) {
  int cut = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Groups groups = RandomTensors(5, seed);
    const double capacity = WeightOfOneWidth(groups, 2);
    const absl::StatusOr<Packing> packing = SolveKnapsack(groups, capacity, /*most_states=*/2);
    ASSERT_TRUE(packing.ok()) << packing.status();
    const double least = LeastCost(groups, capacity);
    EXPECT_LE(packing->weight, capacity);
    EXPECT_LE(packing->least_cost, least * (1 + 1e-12));
    EXPECT_GE(packing->cost, least);
    cut += packing->least_cost < packing->cost;
  }
  EXPECT_GT(cut, 10);
}

TEST(Knapsack, EdgesAndNonsense) {
  EXPECT_TRUE(SolveKnapsack({}, 0)->chosen.empty());
  const Groups groups = {{{1.0, 10}, {0.0, 20}}};
  EXPECT_EQ(SolveKnapsack(groups, 0)->chosen, std::vector<int>{1});
  EXPECT_EQ(SolveKnapsack(groups, 1)->chosen, std::vector<int>{0});
  // Whole numbers of 2^40 are told apart by one.
  const Groups large = {{{0x1p40, 4}, {0x1p40 + 1, 1}}, {{0x1p40, 3}, {0x1p40 + 1, 1}}};
  EXPECT_EQ(SolveKnapsack(large, 0x1p41 + 1)->chosen, (std::vector<int>{1, 0}));
  const auto says = [](const Groups& wrong, double capacity, absl::StatusCode code,
                       const std::string& words) {
    const absl::Status status = SolveKnapsack(wrong, capacity).status();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  says({{{1, 0}}, {{2, 0}}}, 2.5, absl::StatusCode::kNotFound, "weigh 3 together");
  says({{{1, 0}}, {}}, 9, absl::StatusCode::kInvalidArgument, "group 1");
  says({{{1, 0}, {nan, 0}}}, 9, absl::StatusCode::kInvalidArgument, "item 1 of group 0");
  says({{{1, -1}}}, 9, absl::StatusCode::kInvalidArgument, "costs -1");
  says({{{1, 1}}}, nan, absl::StatusCode::kInvalidArgument, "capacity");
  says({{{1, 1}}}, -1, absl::StatusCode::kInvalidArgument, "capacity");
}

}  // namespace
}  // namespace ds
