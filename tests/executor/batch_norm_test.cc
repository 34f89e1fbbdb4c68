// The fused batch normalisation against the same mathematics in double precision, and against
// itself.
#include "executor/batch_norm.h"

#include <cmath>

#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "torch/csrc/autograd/autograd.h"

namespace ds::executor {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct BatchNormCase {
  std::vector<int64_t> shape;
  bool residual;
  double low;
  double high;
  double mean;  // of the input: far from zero is hard
};

struct Results {
  at::Tensor y, dx, dscale, dbias, dresidual, mean, variance;
};

at::Tensor Leaf(const at::Tensor& values, at::ScalarType type) {
  at::Tensor out = values.to(type).clone();
  if (out.dim() == 4) out = out.contiguous(at::MemoryFormat::ChannelsLast);
  return out.detach().set_requires_grad(true);
}

class FusedBatchNorm : public testing::TestWithParam<BatchNormCase> {
 protected:
  void SetUp() override {
    constexpr uint64_t kSeed = 77;
    RecordProperty("seed", std::to_string(kSeed));
    at::manual_seed(kSeed);
    const auto& shape = GetParam().shape;
    x_ = at::randn(shape, at::TensorOptions(at::kDouble)) * 2 + GetParam().mean;
    residual_ = at::randn(shape, at::TensorOptions(at::kDouble));
    gradient_ = at::randn(shape, at::TensorOptions(at::kDouble));
    scale_ = at::rand({shape[1]}, at::TensorOptions(at::kDouble)) + 0.5;
    bias_ = at::randn({shape[1]}, at::TensorOptions(at::kDouble));
  }

  // Inputs rounded to `storage` first, so that both sides start from the same numbers.
  Results Run(bool fused, at::ScalarType storage, at::ScalarType type, at::ScalarType weights) {
    const BatchNormCase& test = GetParam();
    BatchNormOptions options;
    options.low = test.low;
    options.high = test.high;
    const at::Tensor x = Leaf(x_.to(storage), type);
    const at::Tensor residual = test.residual ? Leaf(residual_.to(storage), type) : at::Tensor();
    const at::Tensor scale = Leaf(scale_.to(at::kFloat), weights);
    const at::Tensor bias = Leaf(bias_.to(at::kFloat), weights);
    const at::Tensor mean = at::zeros_like(scale).detach();
    const at::Tensor variance = at::ones_like(scale).detach();
    const BatchNormInputs in{x, scale, bias, mean, variance};
    const at::Tensor y = fused ? BatchNorm(in, residual, options, true)
                               : BatchNormUnfused(in, residual, options, true);
    torch::autograd::backward({y}, {gradient_.to(storage).to(type)});
    return {y.detach(),
            x.grad(),
            scale.grad(),
            bias.grad(),
            test.residual ? residual.grad() : at::Tensor(),
            mean,
            variance};
  }

  at::Tensor x_, residual_, gradient_, scale_, bias_;  // double
};

double Largest(const at::Tensor& a) { return a.abs().max().item<double>(); }

// Relative to the largest element: rounding errors of a sum scale with its terms.
void ExpectClose(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                 const char* what) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  const double error = Largest(actual.to(at::kDouble) - expected);
  EXPECT_LE(error, tolerance * std::max(1.0, Largest(expected))) << what;
}

TEST_P(FusedBatchNorm, Fp32EqualsDoubleReference) {
  const Results actual = Run(true, at::kFloat, at::kFloat, at::kFloat);
  const Results expected = Run(false, at::kFloat, at::kDouble, at::kDouble);
  const double rows = static_cast<double>(x_.numel() / x_.size(1));
  // fp32 sums of chunks of at most 16384 elements in 4 lanes; the input's mean adds its own
  // rounding to x - mean.
  const double tolerance = 1.2e-7 * (8 + std::sqrt(rows) + 2 * std::abs(GetParam().mean));
  ExpectClose(actual.y, expected.y, tolerance, "y");
  ExpectClose(actual.dx, expected.dx, tolerance, "dx");
  ExpectClose(actual.dscale, expected.dscale, tolerance, "dscale");
  ExpectClose(actual.dbias, expected.dbias, tolerance, "dbias");
  ExpectClose(actual.mean, expected.mean, tolerance, "running mean");
  ExpectClose(actual.variance, expected.variance, tolerance, "running variance");
  if (GetParam().residual) ExpectClose(actual.dresidual, expected.dresidual, 0, "dresidual");
}

TEST_P(FusedBatchNorm, BFloat16RoundsOnlyItsResults) {
  if (GetParam().mean != 0) GTEST_SKIP() << "bf16 cannot hold inputs far from zero";
  const Results actual = Run(true, at::kBFloat16, at::kBFloat16, at::kFloat);
  const Results expected = Run(false, at::kBFloat16, at::kDouble, at::kDouble);
  EXPECT_EQ(actual.y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(actual.dscale.scalar_type(), at::kFloat);
  EXPECT_EQ(actual.mean.scalar_type(), at::kFloat);
  // One rounding to 8 bits of mantissa; sums see fp32.
  constexpr double kHalfUlp = 1.0 / 256;
  ExpectClose(actual.y, expected.y, kHalfUlp, "y");
  ExpectClose(actual.dx, expected.dx, 2 * kHalfUlp, "dx");
  ExpectClose(actual.mean, expected.mean, 1e-5, "running mean");
  ExpectClose(actual.variance, expected.variance, 1e-5, "running variance");
  const double rows = static_cast<double>(x_.numel() / x_.size(1));
  ExpectClose(actual.dbias, expected.dbias, 1e-6 * (8 + std::sqrt(rows)), "dbias");
}

TEST_P(FusedBatchNorm, BitsDoNotDependOnThreads) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Results one = Run(true, at::kFloat, at::kFloat, at::kFloat);
  at::set_num_threads(2);
  const Results two = Run(true, at::kFloat, at::kFloat, at::kFloat);
  at::set_num_threads(before);
  EXPECT_TRUE(at::equal(one.y, two.y));
  EXPECT_TRUE(at::equal(one.dx, two.dx));
  EXPECT_TRUE(at::equal(one.dscale, two.dscale));
  EXPECT_TRUE(at::equal(one.mean, two.mean));
}

// Channels around the vector widths, one row more and less than a chunk, primes.
INSTANTIATE_TEST_SUITE_P(
    Shapes, FusedBatchNorm,
    testing::Values(BatchNormCase{{2, 16, 7, 5}, false, 0, kInfinity, 0},
                    BatchNormCase{{2, 16, 7, 5}, true, 0, kInfinity, 0},
                    BatchNormCase{{3, 1, 5, 5}, true, 0, kInfinity, 0},
                    BatchNormCase{{2, 31, 3, 3}, false, 0, 6, 0},
                    BatchNormCase{{2, 17, 3, 3}, true, -kInfinity, kInfinity, 0},
                    BatchNormCase{{2, 8, 3, 3}, false, -kInfinity, kInfinity, 0},
                    BatchNormCase{{5, 67}, true, 0, kInfinity, 0},
                    BatchNormCase{{8, 16, 16, 17}, true, 0, kInfinity, 0},
                    BatchNormCase{{4, 16, 32, 31}, false, 0, kInfinity, 100},
                    BatchNormCase{{2, 3, 1, 1}, false, 0, kInfinity, 0}));

TEST(BatchNorm, OneValueAChannelIsRefusedInTraining) {
  const at::Tensor ones = at::ones({3});
  const BatchNormInputs in{at::ones({1, 3, 1, 1}), ones, ones, ones.clone(), ones.clone()};
  EXPECT_THROW(BatchNorm(in, {}, {}, true), c10::Error);
}

TEST(BatchNorm, NanReachesTheStatistics) {
  at::Tensor x = at::randn({4, 3, 2, 2});
  x.data_ptr<float>()[0] = std::nanf("");
  const at::Tensor ones = at::ones({3});
  const BatchNormInputs in{x, ones, ones, at::zeros({3}), ones.clone()};
  BatchNormOptions relu;
  relu.low = 0;
  const at::Tensor y = BatchNorm(in, {}, relu, true);
  EXPECT_TRUE(std::isnan(in.mean[0].item<double>()));
  EXPECT_TRUE(std::isnan(in.variance[0].item<double>()));
  EXPECT_TRUE(std::isnan(y.sum().item<double>()));
  EXPECT_FALSE(std::isnan(in.mean[1].item<double>()));
}

}  // namespace
}  // namespace ds::executor
