#include "comm/tuning/bit_allocation.h"

#include <cmath>
#include <limits>

#include "base/random.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

struct Total {
  int64_t bytes = 0;
  double error = 0;
};

Total TotalOf(const std::vector<LayerChoices>& layers, const std::vector<int>& chosen) {
  Total total;
  for (size_t l = 0; l < layers.size(); ++l) {
    total.bytes += layers[l][static_cast<size_t>(chosen[l])].bytes;
    total.error += layers[l][static_cast<size_t>(chosen[l])].error;
  }
  return total;
}

// Every combination, tried out.
template <typename F>
void ForEachCombination(const std::vector<LayerChoices>& layers, F visit) {
  std::vector<int> chosen(layers.size(), 0);
  while (true) {
    visit(TotalOf(layers, chosen));
    size_t l = 0;
    while (l < layers.size() && ++chosen[l] == static_cast<int>(layers[l].size())) chosen[l++] = 0;
    if (l == layers.size()) return;
  }
}

// As quantisation has them: a bit less is a quarter more in error, noise included.
std::vector<LayerChoices> RandomLayers(int layers, uint64_t seed) {
  CounterRandom random(seed);
  std::vector<LayerChoices> result;
  for (int l = 0; l < layers; ++l) {
    const int64_t values = 10 + random.NextBelow(1000);
    const double scale = std::exp(3 * random.NextNormal());
    LayerChoices& choices = result.emplace_back();
    for (int bits = 1; bits <= 5; ++bits) {
      choices.push_back(
          {values * bits / 8 + 4, scale * static_cast<double>(values) * std::pow(0.25, bits) *
                                      (1 + 0.3 * random.NextDouble())});
    }
  }
  return result;
}

TEST(BitAllocation, FewestBytesIsTheBestOfAllCombinations) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<LayerChoices> layers = RandomLayers(1 + static_cast<int>(seed % 6), seed);
    double budget = 0;
    for (const LayerChoices& choices : layers) budget += choices[3].error;
    const auto chosen = FewestBytes(layers, budget);
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    const Total total = TotalOf(layers, *chosen);
    EXPECT_LE(total.error, budget * (1 + 1e-12)) << "seed " << seed;
    const double narrower = budget * (1 - static_cast<double>(layers.size()) / kBudgetSteps);
    int64_t best = std::numeric_limits<int64_t>::max(), surely = best;
    ForEachCombination(layers, [&](const Total& other) {
      if (other.error <= budget) best = std::min(best, other.bytes);
      if (other.error <= narrower) surely = std::min(surely, other.bytes);
    });
    EXPECT_GE(total.bytes, best);
    EXPECT_LE(total.bytes, surely) << "seed " << seed;
  }
}

TEST(BitAllocation, LeastErrorIsTheBestOfAllCombinations) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::vector<LayerChoices> layers = RandomLayers(1 + static_cast<int>(seed % 6), seed);
    int64_t budget = 0;  // below kBudgetSteps: exact
    for (const LayerChoices& choices : layers) budget += choices[2].bytes;
    const auto chosen = LeastError(layers, budget);
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    const Total total = TotalOf(layers, *chosen);
    EXPECT_LE(total.bytes, budget);
    double best = std::numeric_limits<double>::max();
    ForEachCombination(layers, [&](const Total& other) {
      if (other.bytes <= budget) best = std::min(best, other.error);
    });
    EXPECT_NEAR(total.error, best, 1e-12 * best) << "seed " << seed;
  }
}

TEST(BitAllocation, LargeByteBudgetsAreKept) {
  const std::vector<LayerChoices> layers = {{{int64_t{3} << 32, 4.0}, {int64_t{5} << 32, 1.0}},
                                            {{int64_t{3} << 32, 3.0}, {int64_t{5} << 32, 1.0}}};
  const auto chosen = LeastError(layers, (int64_t{8} << 32) + (int64_t{1} << 31));
  ASSERT_TRUE(chosen.ok());
  EXPECT_EQ(*chosen, (std::vector<int>{1, 0}));
}

TEST(BitAllocation, EdgesAndNonsense) {
  EXPECT_TRUE(FewestBytes({}, 0)->empty());
  const std::vector<LayerChoices> layers = {{{10, 1.0}, {20, 0.0}}};
  EXPECT_EQ(*FewestBytes(layers, 0), std::vector<int>{1});
  EXPECT_EQ(*FewestBytes(layers, 1), std::vector<int>{0});
  EXPECT_EQ(LeastError(layers, 9).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*LeastError(layers, 10), std::vector<int>{0});
  const std::vector<LayerChoices> lossy = {{{10, 1.0}}};
  EXPECT_EQ(FewestBytes(lossy, 0.5).status().code(), absl::StatusCode::kNotFound);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<LayerChoices> none = {{}}, bad = {{{10, nan}}}, negative = {{{-1, 0}}};
  for (const auto* wrong : {&none, &bad, &negative}) {
    EXPECT_EQ(FewestBytes(*wrong, 1).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(FewestBytes(layers, nan).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LeastError(layers, -1).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds
