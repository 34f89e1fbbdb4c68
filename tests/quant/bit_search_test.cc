#include "quant/bit_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "gtest/gtest.h"

namespace ds {
namespace {

using Layers = std::vector<std::vector<BitChoice>>;

// All combinations, one after the other: the least error within the budget, infinity where there is
// none.
double BruteForce(const Layers& layers, int64_t budget, size_t layer = 0, int64_t bytes = 0,
                  double error = 0) {
  if (bytes > budget) return std::numeric_limits<double>::infinity();
  if (layer == layers.size()) return error;
  double least = std::numeric_limits<double>::infinity();
  for (const BitChoice& choice : layers[layer]) {
    least = std::min(
        least, BruteForce(layers, budget, layer + 1, bytes + choice.bytes, error + choice.error));
  }
  return least;
}

// `count` layers of widths 2..most; errors fall with the width by chance, ties and increases
// included.
Layers RandomLayers(std::mt19937& rng, int count, int most, bool orderly) {
  Layers layers(static_cast<size_t>(count));
  for (auto& choices : layers) {
    const auto weights = std::uniform_int_distribution<int64_t>(1, 400)(rng);
    const double sensitivity = std::exp(std::uniform_real_distribution<double>(-4, 4)(rng));
    for (int bits = 2; bits <= most; ++bits) {
      const double error = orderly ? sensitivity * std::pow(4.0, -bits)
                                   : std::uniform_int_distribution<int>(0, 9)(rng);
      choices.push_back({bits, weights * bits, error});
    }
  }
  return layers;
}

void ExpectConsistent(const Layers& layers, const BitAssignment& found, int64_t budget) {
  ASSERT_EQ(found.bits.size(), layers.size());
  int64_t bytes = 0;
  double error = 0;
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto choice = std::find_if(layers[i].begin(), layers[i].end(),
                                     [&](const BitChoice& c) { return c.bits == found.bits[i]; });
    ASSERT_NE(choice, layers[i].end());
    bytes += choice->bytes;
    error += choice->error;
  }
  EXPECT_EQ(found.bytes, bytes);
  EXPECT_LE(bytes, budget);
  EXPECT_NEAR(found.error, error, 1e-12 * (1 + error));
}

TEST(BitSearch, IsAsGoodAsTryingAllCombinations) {
  std::mt19937 rng(20261124);
  for (int round = 0; round < 600; ++round) {
    const bool orderly = round % 2 == 0;
    const int count = std::uniform_int_distribution<int>(1, 6)(rng);
    const Layers layers =
        RandomLayers(rng, count, std::uniform_int_distribution<int>(2, 6)(rng), orderly);
    int64_t least = 0, most = 0;
    for (const auto& choices : layers) {
      least += choices.front().bytes;
      most += choices.back().bytes;
    }
    const auto budget = std::uniform_int_distribution<int64_t>(least, most + 1)(rng);
    const auto found = SearchBits(layers, budget);
    ASSERT_TRUE(found.ok()) << found.status();
    ExpectConsistent(layers, *found, budget);
    const double best = BruteForce(layers, budget);
    EXPECT_NEAR(found->error, best, 1e-12 * (1 + best)) << "round " << round;
    EXPECT_EQ(found->least_error, found->error) << "round " << round;
  }
}

// By hand: 10 bytes are left beyond the smallest. Density alone would take the second layer's
// upgrade (0.9 for 6 bytes) and then has no room for the first's (1.0 for 9): the greedy choice is
// 0.1 worse.
TEST(BitSearch, IsNotGreedy) {
  const Layers layers = {{{2, 1, 1.0}, {4, 10, 0.0}}, {{2, 1, 0.9}, {4, 7, 0.0}}};
  const auto found = SearchBits(layers, 12);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->bits, (std::vector<int>{4, 2}));
  EXPECT_EQ(found->bytes, 11);
  EXPECT_DOUBLE_EQ(found->error, 0.9);
}

// As many layers as ResNet-101 has: no time to try combinations, but the error can only fall as the
// budget grows, and the bound says how far from the best it can be.
TEST(BitSearch, ManyLayersAreSearchedToTheEnd) {
  std::mt19937 rng(7);
  Layers layers = RandomLayers(rng, 105, 8, true);
  for (auto& choices : layers) {
    for (BitChoice& choice : choices) choice.bytes *= 5003;  // as large as real ones
  }
  int64_t most = 0;
  for (const auto& choices : layers) most += choices.back().bytes;
  double before = std::numeric_limits<double>::infinity();
  for (const double share : {0.3, 0.4, 0.5, 0.6, 0.9, 1.0}) {
    const auto budget = static_cast<int64_t>(share * static_cast<double>(most));
    const auto found = SearchBits(layers, budget);
    ASSERT_TRUE(found.ok()) << found.status();
    ExpectConsistent(layers, *found, budget);
    EXPECT_EQ(found->least_error, found->error) << share;
    EXPECT_LE(found->error, before);
    before = found->error;
  }
}

TEST(BitSearch, GivingUpLeavesAValidAssignmentAndAnHonestBound) {
  std::mt19937 rng(3);
  int cut = 0;
  for (int round = 0; round < 100; ++round) {
    const Layers layers = RandomLayers(rng, 5, 5, round % 2 == 0);
    int64_t least = 0;
    for (const auto& choices : layers) least += choices.front().bytes;
    const int64_t budget = least * 3 / 2;
    const auto found = SearchBits(layers, budget, /*most_states=*/2);
    ASSERT_TRUE(found.ok()) << found.status();
    ExpectConsistent(layers, *found, budget);
    const double best = BruteForce(layers, budget);
    EXPECT_LE(found->least_error, best + 1e-9);
    EXPECT_GE(found->error, best - 1e-9);
    cut += found->least_error < found->error;
  }
  EXPECT_GT(cut, 10);
}

TEST(BitSearch, SizesAreThoseOfFiles) {
  EXPECT_EQ(QuantizedBytes(9, 2, 3, CodeStorage::kFile), 3 + 12);
  EXPECT_EQ(QuantizedBytes(9, 3, 0, CodeStorage::kFile), 5);
  EXPECT_EQ(QuantizedBytes(9, 4, 1, CodeStorage::kFile), 5 + 4);
  EXPECT_EQ(QuantizedBytes(9, 5, 1, CodeStorage::kFile), 9 + 4);
  EXPECT_EQ(QuantizedBytes(9, 8, 1, CodeStorage::kFile), 9 + 4);
  EXPECT_EQ(QuantizedBytes(9, 3, 2, CodeStorage::kTight), 4 + 8);
  EXPECT_EQ(QuantizedBytes(0, 8, 0, CodeStorage::kTight), 0);
}

TEST(BitSearch, BadInputIsOneClearError) {
  const auto says = [](const absl::StatusOr<BitAssignment>& found, absl::StatusCode code,
                       const std::string& words) {
    EXPECT_EQ(found.status().code(), code) << found.status();
    EXPECT_NE(std::string(found.status().message()).find(words), std::string::npos)
        << found.status();
  };
  says(SearchBits(Layers{}, 10), absl::StatusCode::kInvalidArgument, "no layers");
  says(SearchBits(Layers{{{2, 1, 0}}, {}}, 10), absl::StatusCode::kInvalidArgument, "layer 1");
  says(SearchBits(Layers{{{2, -1, 0}}}, 10), absl::StatusCode::kInvalidArgument, "2 bits");
  says(SearchBits(Layers{{{2, 1, std::nan("")}}}, 10), absl::StatusCode::kInvalidArgument,
       "finite");
  says(SearchBits(Layers{{{2, 7, 1}}, {{2, 5, 1}}}, 11), absl::StatusCode::kFailedPrecondition,
       "12 bytes");
}

}  // namespace
}  // namespace ds
