#include "quant/torch/lsq.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "ATen/Parallel.h"
#include "gtest/gtest.h"
#include "torch/csrc/autograd/variable.h"

namespace ds {
namespace {

struct Case {
  QuantType type;
  int32_t zero_point = 0;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (int bits = 2; bits <= 8; ++bits) {
    cases.push_back({{.bits = bits, .is_signed = true}, 0});
    cases.push_back({{.bits = bits, .is_signed = true, .narrow = true}, 0});
    cases.push_back({{.bits = bits, .is_signed = false}, 0});
    cases.push_back({{.bits = bits, .is_signed = false}, (1 << bits) / 3});
  }
  return cases;
}

// The paper's equations in double, but for the division, which is fp32 by definition
// (quant/affine.h).
struct Expected {
  double value, of_value, of_step;
};

Expected ClosedForm(float v, float step, const Case& c) {
  const double low = c.type.min() - c.zero_point, high = c.type.max() - c.zero_point;
  const double u = v / step, nearest = std::nearbyint(u);
  if (u <= low) return {low * step, 0, low};
  if (u >= high) return {high * step, 0, high};
  return {nearest * step, 1, nearest - u};
}

at::Tensor Numbers(at::IntArrayRef shape, uint32_t seed, double spread) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, static_cast<float>(spread));
  at::Tensor tensor = at::empty(shape, at::kFloat);
  for (int64_t i = 0; i < tensor.numel(); ++i) tensor.data_ptr<float>()[i] = normal(random);
  return tensor;
}

// Compares the value and both gradients with the closed form; `step_of(i)`: the step of element i
// in row-major order.
template <typename StepOf>
void CheckAgainstClosedForm(const at::Tensor& values, const at::Tensor& steps, int axis,
                            const Case& c, double scale, const StepOf& step_of) {
  at::Tensor v = values.clone(), s = steps.clone();
  v.set_requires_grad(true);
  s.set_requires_grad(true);
  const at::Tensor weights = Numbers(values.sizes(), 7, 1);
  const at::Tensor out = LsqFakeQuantize(
      v, s, {.type = c.type, .axis = axis, .zero_point = c.zero_point, .gradient_scale = scale});
  (out * weights).sum().backward();
  const at::Tensor flat_v = values.contiguous(), flat_w = weights.contiguous(),
                   flat_out = out.detach().contiguous(), flat_g = v.grad().contiguous();
  std::vector<double> of_step(static_cast<size_t>(steps.numel())), bound(of_step.size());
  for (int64_t i = 0; i < flat_v.numel(); ++i) {
    const int64_t k = step_of(i);
    const Expected expected =
        ClosedForm(flat_v.data_ptr<float>()[i], steps.data_ptr<float>()[k], c);
    const double g = flat_w.data_ptr<float>()[i];
    ASSERT_EQ(flat_out.data_ptr<float>()[i], static_cast<float>(expected.value)) << i;
    ASSERT_EQ(flat_g.data_ptr<float>()[i], static_cast<float>(expected.of_value * g)) << i;
    of_step[static_cast<size_t>(k)] += expected.of_step * g * scale;
    bound[static_cast<size_t>(k)] +=
        std::abs(expected.of_step * g) * scale + std::abs(g) * scale * std::abs(c.type.max());
  }
  for (size_t k = 0; k < of_step.size(); ++k) {
    EXPECT_NEAR(s.grad().data_ptr<float>()[k], of_step[k], bound[k] * 2e-6 + 1e-12)
        << "bits " << c.type.bits << ", step " << k;
  }
}

TEST(Lsq, OneStepForATensorHasThePapersGradientsInAllThreeRegions) {
  for (const Case& c : Cases()) {
    // Spread beyond the range on both sides; a size that no vector divides.
    const at::Tensor values = Numbers({3, 5, 7, 11}, 1, 0.3 * c.type.max());
    CheckAgainstClosedForm(values, at::full({1}, 0.37f), QuantParams::kWholeTensor, c,
                           LsqGradientScale(385, c.type), [](int64_t) { return 0; });
  }
}

TEST(Lsq, AStepForEachChannelHasThemForItsOwnElements) {
  for (const Case& c : Cases()) {
    if (!c.type.is_signed) continue;
    const at::Tensor steps = at::rand({5}, at::kFloat) + 0.1;
    const double scale = LsqGradientScale(21, c.type);
    const at::Tensor conv = Numbers({5, 3, 7, 1}, 2, 0.3 * c.type.max());
    CheckAgainstClosedForm(conv, steps, 0, c, scale, [](int64_t i) { return i / 21; });
    CheckAgainstClosedForm(conv.contiguous(at::MemoryFormat::ChannelsLast), steps, 0, c, scale,
                           [](int64_t i) { return i / 21; });
    const at::Tensor matrix = Numbers({21, 5}, 3, 0.3 * c.type.max());
    CheckAgainstClosedForm(matrix, steps, 1, c, scale, [](int64_t i) { return i % 5; });
  }
}

TEST(Lsq, LargeTensorsAreSummedTheSameWayOnAnyNumberOfThreads) {
  const at::Tensor values =
      Numbers({3, 16, 57, 31}, 4, 3).contiguous(at::MemoryFormat::ChannelsLast);
  const Case c = {{.bits = 4, .is_signed = false}, 5};
  CheckAgainstClosedForm(values, at::full({1}, 0.5f), QuantParams::kWholeTensor, c, 1,
                         [](int64_t) { return 0; });
  std::vector<at::Tensor> gradients;
  const int before = at::get_num_threads();
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    at::Tensor step = at::full({1}, 0.5f);
    step.set_requires_grad(true);
    LsqFakeQuantize(values, step, {.type = c.type, .zero_point = 5}).square().sum().backward();
    gradients.push_back(step.grad());
  }
  at::set_num_threads(before);
  EXPECT_TRUE(gradients[0].equal(gradients[1]));
  EXPECT_TRUE(gradients[0].equal(gradients[2]));
}

TEST(Lsq, TheBoundsThemselvesBelongToTheOutside) {
  const QuantType type = {.bits = 3, .is_signed = true};
  at::Tensor v = at::tensor({-4.0f, -3.75f, 2.75f, 3.0f}), step = at::ones({1});
  v.set_requires_grad(true);
  step.set_requires_grad(true);
  LsqFakeQuantize(v, step, {.type = type}).sum().backward();
  EXPECT_TRUE(v.grad().equal(at::tensor({0.0f, 1.0f, 1.0f, 0.0f})));
  EXPECT_FLOAT_EQ(step.grad().item<float>(), -4 - 0.25f + 0.25f + 3);
}

TEST(Lsq, TheGradientScaleIsThatOfThePaper) {
  EXPECT_DOUBLE_EQ(LsqGradientScale(100, {.bits = 4, .is_signed = true}), 1 / std::sqrt(700.0));
  EXPECT_DOUBLE_EQ(LsqGradientScale(36, {.bits = 2, .is_signed = false}), 1 / std::sqrt(108.0));
}

TEST(Lsq, TheInitialStepIsThatOfThePaper) {
  const at::Tensor v = at::tensor({1.0f, -3.0f, 0.0f, 0.0f, 2.0f, 6.0f}).reshape({3, 2});
  const QuantType type = {.bits = 4, .is_signed = true};  // max 7
  const at::Tensor rows = LsqInitialStep(v, 0, type), columns = LsqInitialStep(v, 1, type),
                   all = LsqInitialStep(v, -1, type);
  EXPECT_TRUE(rows.allclose(at::tensor({2.0, 0.0, 4.0}, at::kFloat) * 2 / std::sqrt(7.0)));
  EXPECT_TRUE(columns.allclose(at::tensor({1.0, 3.0}, at::kFloat) * 2 / std::sqrt(7.0)));
  EXPECT_TRUE(all.allclose(at::tensor({2.0}, at::kFloat) * 2 / std::sqrt(7.0)));
}

TEST(Lsq, HalvesGoToEvenAndWhatIsNotANumberStaysSo) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              inf = std::numeric_limits<float>::infinity();
  const at::Tensor v = at::tensor({0.5f, 1.5f, -2.5f, 1e30f, -inf, inf, nan});
  const at::Tensor out =
      LsqFakeQuantize(v, at::ones({1}), {.type = {.bits = 8, .is_signed = true}});
  EXPECT_TRUE(out.slice(0, 0, 6).equal(at::tensor({0.0f, 2.0f, -2.0f, 127.0f, -128.0f, 127.0f})));
  EXPECT_TRUE(std::isnan(out[6].item<float>()));
}

TEST(Lsq, AgreesWithTheQuantiserThatExportUsesBitForBit) {
  const at::Tensor values = Numbers({4099}, 5, 4);
  for (const Case& c : Cases()) {
    const QuantParams params = {.type = c.type, .scales = {0.0371f}, .zero_points = {c.zero_point}};
    std::vector<float> expected(4099);
    FakeQuantize({values.data_ptr<float>(), 4099}, Shape{4099}, params, absl::MakeSpan(expected));
    const at::Tensor out = LsqFakeQuantize(values, at::full({1}, 0.0371f),
                                           {.type = c.type, .zero_point = c.zero_point});
    EXPECT_TRUE(out.equal(at::tensor(expected))) << c.type.bits;
  }
}

TEST(Lsq, LowPrecisionOperandsAreRoundedInFp32) {
  const at::Tensor low = Numbers({999}, 6, 2).to(at::kBFloat16);
  const LsqOptions options = {.type = {.bits = 8, .is_signed = true}};
  at::Tensor v = low.clone(), step = at::full({1}, 0.013f);
  v.set_requires_grad(true);
  const at::Tensor out = LsqFakeQuantize(v, step, options);
  EXPECT_EQ(out.scalar_type(), at::kFloat);
  EXPECT_TRUE(out.equal(LsqFakeQuantize(low.to(at::kFloat), step, options)));
  EXPECT_FALSE(out.equal(out.to(at::kBFloat16).to(at::kFloat)))
      << "bf16 would do: the case shows nothing";
  out.sum().backward();
  EXPECT_EQ(v.grad().scalar_type(), at::kBFloat16);
}

TEST(Lsq, AStepOfAnotherSizeIsRefused) {
  EXPECT_THROW(LsqFakeQuantize(at::ones({4, 2}), at::ones({2}), {.axis = 0}), c10::Error);
  EXPECT_THROW(LsqFakeQuantize(at::ones({4, 2}), at::ones({4}), {}), c10::Error);
}

}  // namespace
}  // namespace ds
