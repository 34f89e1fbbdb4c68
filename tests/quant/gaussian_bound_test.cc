#include "quant/gaussian_bound.h"

#include <cmath>

#include "gtest/gtest.h"

namespace ds {
namespace {

// Max 1960, table II: mean squared error of the best uniform quantiser of N = 2, 4, 8, 16, 32
// levels.
TEST(GaussianBound, IsThatOfMaxsTable) {
  const double errors[] = {0.3634, 0.1188, 0.03744, 0.01154, 0.003495};
  for (int bits = 1; bits <= 5; ++bits) {
    EXPECT_NEAR(GaussianSignalToNoise(bits), -10 * std::log10(errors[bits - 1]), 0.02) << bits;
  }
}

TEST(GaussianBound, GrowsByLessThanSixDecibelsABit) {
  for (int bits = 2; bits <= 8; ++bits) {
    const double gain = GaussianSignalToNoise(bits) - GaussianSignalToNoise(bits - 1);
    EXPECT_GT(gain, 4.5) << bits;
    EXPECT_LT(gain, 20 * std::log10(2.0)) << bits;
  }
}

}  // namespace
}  // namespace ds
