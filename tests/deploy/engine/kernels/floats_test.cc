// Kernels on rows of floats against doubles.
#include <functional>
#include <limits>

#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

class FloatsTest : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(All, FloatsTest, AllSets(), SetName);

constexpr int32_t kRows = 5;
constexpr double kTolerance = 1e-5;

double Activated(const Activate& how, double x) {
  const double sigmoid = 1 / (1 + std::exp(-x));
  const double hard = std::min(std::max(x / 6 + 0.5, 0.0), 1.0);
  switch (how.kind) {
    case Activation::kNone:
      return x;
    case Activation::kClamp:
      return std::min<double>(std::max<double>(x, how.low), how.high);
    case Activation::kSigmoid:
      return sigmoid;
    case Activation::kSilu:
      return x * sigmoid;
    case Activation::kHardSigmoid:
      return hard;
    case Activation::kHardSwish:
      return x * hard;
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kGelu:
      return x * std::erfc(-x / std::sqrt(2.0)) / 2;
    case Activation::kLeakyRelu:
      return x < 0 ? how.low * x : x;
  }
  return 0;
}

constexpr Activation kActivations[] = {
    Activation::kNone, Activation::kClamp,       Activation::kSigmoid,
    Activation::kSilu, Activation::kHardSigmoid, Activation::kHardSwish,
    Activation::kTanh, Activation::kGelu,        Activation::kLeakyRelu};

struct FloatRows {
  explicit FloatRows(int32_t columns)
      : stride(columns + 1), values(static_cast<size_t>(kRows * stride), 99.0f) {}
  RowsOut Out() { return {values.data(), stride * 4}; }
  // Checks row by row, and that what lies between rows was left alone.
  void Expect(int32_t columns, const std::function<double(int32_t, int32_t)>& expected) {
    for (int32_t row = 0; row < kRows; ++row) {
      for (int32_t c = 0; c < columns; ++c) {
        const double want = expected(row, c);
        ASSERT_NEAR(values[static_cast<size_t>(row * stride + c)], want,
                    kTolerance * std::max(1.0, std::abs(want)))
            << row << ", " << c << " of " << columns;
      }
      ASSERT_EQ(values[static_cast<size_t>(row * stride + columns)], 99.0f);
    }
  }
  int64_t stride;
  std::vector<float> values;
};

TEST_P(FloatsTest, ActivationsAreNearDoubles) {
  CounterRandom random(kSeed, 21);
  for (int32_t columns : kWidths) {
    for (Activation kind : kActivations) {
      const Activate how{kind, -1.5f, 2.5f};
      const std::vector<float> in = RandomFloats(kRows * columns, 9, random);
      FloatRows out(columns);
      const ActivateF32Args args{.input = {in.data(), columns * 4},
                                 .output = out.Out(),
                                 .columns = columns,
                                 .activate = how};
      RunSplit(kRows, random, [&](Range rows) { kernels_->activate_f32(args, rows); });
      ASSERT_NO_FATAL_FAILURE(out.Expect(columns, [&](int32_t row, int32_t c) {
        return Activated(how, in[static_cast<size_t>(row * columns + c)]);
      })) << static_cast<int>(kind);
    }
  }
}

TEST_P(FloatsTest, ActivationsHoldFarOut) {
  const std::vector<float> in = {-1e30f, -200, -89, 89, 200, 1e30f, 0, -0.0f};
  for (Activation kind : kActivations) {
    const Activate how{kind, -1, 1};
    std::vector<float> out(in.size());
    const ActivateF32Args args{
        .input = {in.data(), 0}, .output = {out.data(), 0}, .columns = 8, .activate = how};
    kernels_->activate_f32(args, {0, 1});
    for (size_t i = 0; i < in.size(); ++i) {
      const double want = Activated(how, in[i]);
      EXPECT_NEAR(out[i], want, kTolerance * std::max(1.0, std::abs(want)))
          << in[i] << " kind " << static_cast<int>(kind);
    }
  }
}

// As a fused one is: onto itself, and all of it.
TEST_P(FloatsTest, ActivationsInPlaceAreThoseApart) {
  CounterRandom random(kSeed, 24);
  for (Activation kind : kActivations) {
    std::vector<float> in = RandomFloats(37, 9, random);
    in.resize(37);  // without what a vector reads beyond
    std::vector<float> apart(in.size()), inside = in;
    const Activate how{kind, 0.1f, 2.5f};
    const auto run = [&](const float* from, float* to) {
      const ActivateF32Args args{
          .input = {from, 0}, .output = {to, 0}, .columns = 37, .activate = how};
      kernels_->activate_f32(args, {0, 1});
    };
    run(in.data(), apart.data());
    run(inside.data(), inside.data());
    EXPECT_EQ(apart, inside) << static_cast<int>(kind);
  }
}

TEST_P(FloatsTest, DotsOfRowsAreNearDoubles) {
  CounterRandom random(kSeed, 25);
  for (int32_t columns : kWidths) {
    constexpr int32_t kCount = 21;
    const int64_t stride = columns + 3;
    const std::vector<float> matrix = RandomFloats(kCount * stride, 1, random);
    const std::vector<float> vector = RandomFloats(columns, 1, random);
    std::vector<float> out(kCount + 1, 0.5f);
    const AddDotsF32Args args{matrix.data(), stride, vector.data(), columns, out.data()};
    RunSplit(kCount, random, [&](Range rows) { kernels_->add_dots_f32(args, rows); });
    for (int32_t row = 0; row < kCount; ++row) {
      double want = 0.5;
      for (int32_t c = 0; c < columns; ++c)
        want +=
            double{matrix[static_cast<size_t>(row * stride + c)]} * vector[static_cast<size_t>(c)];
      ASSERT_NEAR(out[static_cast<size_t>(row)], want, kTolerance * std::max(1.0, std::abs(want)));
    }
    ASSERT_EQ(out[kCount], 0.5f);
  }
}

TEST_P(FloatsTest, BinariesAreNearDoubles) {
  using Function = double (*)(double, double);
  const std::pair<Binary, Function> binaries[] = {
      {Binary::kAdd, [](double x, double y) { return x + y; }},
      {Binary::kSubtract, [](double x, double y) { return x - y; }},
      {Binary::kMultiply, [](double x, double y) { return x * y; }},
      {Binary::kDivide, [](double x, double y) { return x / y; }},
      {Binary::kMaximum, [](double x, double y) { return std::max(x, y); }},
      {Binary::kMinimum, [](double x, double y) { return std::min(x, y); }}};
  CounterRandom random(kSeed, 22);
  for (int32_t columns : kWidths) {
    for (const auto& [kind, function] : binaries) {
      for (bool gate : {false, true}) {
        const Activate how{gate ? Activation::kHardSwish : Activation::kNone};
        const std::vector<float> a = RandomFloats(kRows * columns, 4, random);
        const std::vector<float> b = RandomFloats(kRows * columns, 4, random);
        const int64_t stride_b = gate ? 0 : columns;
        FloatRows out(columns);
        const BinaryF32Args args{.kind = kind,
                                 .a = {a.data(), columns * 4},
                                 .b = {b.data(), stride_b * 4},
                                 .output = out.Out(),
                                 .columns = columns,
                                 .activate = how};
        RunSplit(kRows, random, [&](Range rows) { kernels_->binary_f32(args, rows); });
        const auto expected = [&, f = function](int32_t row, int32_t c) {
          return Activated(how, f(a[static_cast<size_t>(row * columns + c)],
                                  b[static_cast<size_t>(row * stride_b + c)]));
        };
        ASSERT_NO_FATAL_FAILURE(out.Expect(columns, expected)) << static_cast<int>(kind);
      }
    }
  }
}

TEST_P(FloatsTest, SoftmaxOfFloatsIsNearDoubles) {
  CounterRandom random(kSeed, 23);
  for (int32_t columns : kWidths) {
    for (float width : {1.0f, 30.0f, 1000.0f}) {
      const std::vector<float> in = RandomFloats(kRows * columns, width, random);
      if (columns == 0) continue;
      FloatRows out(columns);
      const SoftmaxArgs args{
          .input = {in.data(), columns * 4}, .output = out.Out(), .columns = columns};
      RunSplit(kRows, random, [&](Range rows) { kernels_->softmax_f32(args, rows); });
      ASSERT_NO_FATAL_FAILURE(out.Expect(columns, [&](int32_t row, int32_t column) {
        const float* x = in.data() + row * columns;
        double sum = 0;
        for (int32_t c = 0; c < columns; ++c) sum += std::exp(double{x[c]} - x[column]);
        return 1 / sum;
      })) << width;
    }
  }
}

TEST_P(FloatsTest, LayerNormIsNearDoubles) {
  CounterRandom random(kSeed, 24);
  for (int32_t columns : kWidths) {
    if (columns == 0) continue;
    for (int32_t variant = 0; variant < 4; ++variant) {
      std::vector<float> in = RandomFloats(kRows * columns, 2, random);
      const std::vector<float> scale = RandomFloats(columns, 2, random);
      const std::vector<float> shift = RandomFloats(columns, 2, random);
      FloatRows out(columns);
      LayerNormArgs args{.input = {in.data(), columns * 4},
                         .output = out.Out(),
                         .columns = columns,
                         .epsilon = 1e-3f};
      if (variant & 1) args.scale = scale.data();
      if (variant & 2) args.shift = shift.data();
      RunSplit(kRows, random, [&](Range rows) { kernels_->layer_norm_f32(args, rows); });
      ASSERT_NO_FATAL_FAILURE(out.Expect(columns, [&](int32_t row, int32_t column) {
        const float* x = in.data() + row * columns;
        double mean = 0, variance = 0;
        for (int32_t c = 0; c < columns; ++c) mean += double{x[c]} / columns;
        for (int32_t c = 0; c < columns; ++c) variance += (x[c] - mean) * (x[c] - mean) / columns;
        const auto index = static_cast<size_t>(column);
        return (x[column] - mean) / std::sqrt(variance + args.epsilon) *
                   (args.scale ? scale[index] : 1.0) +
               (args.shift ? shift[index] : 0.0);
      })) << variant;
    }
  }
}

}  // namespace
}  // namespace ds::engine
