// Every instruction set's kernels against plain loops in double precision.
#include "executor/kernels/bn_kernels.h"

#include <cmath>
#include <random>
#include <vector>

#include "base/cpu/cpu_features.h"
#include "base/tensor/float16.h"
#include "gtest/gtest.h"

namespace ds::executor {
namespace {

constexpr uint32_t kSeed = 5;

struct KernelCase {
  BnInstructions instructions;
  bool bf16;
  int64_t rows;
  int64_t channels;
};

// Elements as the kernels store them, one byte off any alignment a vector may like.
class Elements {
 public:
  Elements(bool bf16, size_t count) : bf16_(bf16), bytes_((count + 1) * (bf16 ? 2 : 4)) {}
  void* data() { return bytes_.data() + (bf16_ ? 2 : 4); }
  void Set(size_t i, float value) {
    if (bf16_)
      static_cast<BFloat16*>(data())[i] = BFloat16(value);
    else
      static_cast<float*>(data())[i] = value;
  }
  double Get(size_t i) {
    return bf16_ ? static_cast<float>(static_cast<BFloat16*>(data())[i])
                 : static_cast<float*>(data())[i];
  }

 private:
  bool bf16_;
  std::vector<std::byte> bytes_;
};

class BnKernelsTest : public testing::TestWithParam<KernelCase> {
 protected:
  void SetUp() override {
    const bool missing = (GetParam().instructions == BnInstructions::kAvx2 && !Cpu().avx2) ||
                         (GetParam().instructions == BnInstructions::kAvx512 && !Cpu().avx512);
    if (missing) GTEST_SKIP() << "this processor lacks the instructions";
  }
  Elements Random() {
    Elements out(GetParam().bf16, size());
    for (size_t i = 0; i < size(); ++i) out.Set(i, normal_(engine_));
    return out;
  }
  std::vector<float> Vector() {
    std::vector<float> out(static_cast<size_t>(GetParam().channels));
    for (float& v : out) v = normal_(engine_);
    return out;
  }
  size_t size() const { return static_cast<size_t>(GetParam().rows * GetParam().channels); }
  double Rounding() const { return GetParam().bf16 ? 1.0 / 256 : 6e-7; }
  const BnKernels& kernels() const {
    return GetBnKernels(GetParam().instructions, GetParam().bf16);
  }

  std::mt19937 engine_{kSeed};
  std::normal_distribution<float> normal_;
};

TEST_P(BnKernelsTest, StatisticsAndGradientSumsEqualPlainLoops) {
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  const auto [instructions, bf16, rows, channels] = GetParam();
  const size_t width = static_cast<size_t>(channels);
  Elements x = Random(), y = Random(), gradient = Random(), masked(bf16, size());
  const std::vector<float> mean = Vector();
  std::vector<float> sum(width), square(width), total(width), product(width);
  kernels().statistics(x.data(), rows, channels, mean.data(), sum.data(), square.data());
  kernels().reduce(gradient.data(), y.data(), x.data(), masked.data(), rows, channels, mean.data(),
                   0.0f, 1.0f, total.data(), product.data());
  for (size_t c = 0; c < width; ++c) {
    double s = 0, q = 0, t = 0, p = 0, size_of_terms = 1;
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      const size_t i = r * width + c;
      const double d = x.Get(i) - mean[c];
      const double g = y.Get(i) > 0 && y.Get(i) < 1 ? gradient.Get(i) : 0;
      EXPECT_EQ(masked.Get(i), g);
      s += d;
      q += d * d;
      t += g;
      p += g * d;
      size_of_terms += d * d + std::abs(d) + std::abs(g) + std::abs(g * d);
    }
    // Each addition rounds a partial sum no larger than all terms together.
    const double tolerance = 6e-8 * size_of_terms * (4 + std::sqrt(static_cast<double>(rows)));
    EXPECT_NEAR(sum[c], s, tolerance);
    EXPECT_NEAR(square[c], q, tolerance);
    EXPECT_NEAR(total[c], t, tolerance);
    EXPECT_NEAR(product[c], p, tolerance);
  }
}

TEST_P(BnKernelsTest, ElementsEqualPlainLoops) {
  const auto [instructions, bf16, rows, channels] = GetParam();
  const size_t width = static_cast<size_t>(channels);
  Elements x = Random(), residual = Random(), y(bf16, size()), gradient = Random(),
           dx(bf16, size());
  const std::vector<float> mean = Vector(), scale = Vector(), bias = Vector();
  kernels().apply(x.data(), residual.data(), y.data(), rows, channels,
                  {mean.data(), scale.data(), bias.data(), -0.5f, 1.5f});
  kernels().input_gradient(gradient.data(), y.data(), x.data(), dx.data(), rows, channels,
                           {mean.data(), scale.data(), bias.data(), mean.data(), -0.5f, 1.5f});
  for (size_t i = 0; i < size(); ++i) {
    const size_t c = i % width;
    const double d = x.Get(i) - mean[c];
    const double before = d * scale[c] + bias[c] + residual.Get(i);
    EXPECT_NEAR(y.Get(i), std::clamp(before, -0.5, 1.5), Rounding() * (10 + std::abs(before)));
    const double g = y.Get(i) > -0.5 && y.Get(i) < 1.5 ? gradient.Get(i) : 0;
    const double expected = g * scale[c] + d * bias[c] + mean[c];
    EXPECT_NEAR(dx.Get(i), expected, Rounding() * (10 + std::abs(expected)));
  }
}

std::vector<KernelCase> Cases() {
  std::vector<KernelCase> cases;
#if defined(__x86_64__)
  const auto sets = {BnInstructions::kBaseline, BnInstructions::kAvx2, BnInstructions::kAvx512};
#else
  const auto sets = {BnInstructions::kBaseline};
#endif
  for (const BnInstructions set : sets) {
    for (const bool bf16 : {false, true}) {
      for (const int64_t rows : {0, 1, 4, 7, 101}) {
        for (const int64_t channels : {1, 3, 4, 8, 15, 16, 17, 31, 64}) {
          cases.push_back({set, bf16, rows, channels});
        }
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Sizes, BnKernelsTest, testing::ValuesIn(Cases()));

}  // namespace
}  // namespace ds::executor
