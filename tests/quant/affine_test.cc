// Quantising and dequantising against the definition, for every width and layout.
#include "quant/affine.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/quant/ranges/calibration_cases.h"

namespace ds {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kGreatest = std::numeric_limits<float>::max();
constexpr float kLeastNormal = std::numeric_limits<float>::min();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

std::vector<QuantType> AllTypes() {
  std::vector<QuantType> types;
  for (int bits = 2; bits <= 8; ++bits) {
    types.push_back({.bits = bits, .is_signed = true});
    types.push_back({.bits = bits, .is_signed = true, .narrow = true});
    types.push_back({.bits = bits, .is_signed = false});
  }
  return types;
}

std::string NameOf(const QuantType& type) {
  return (type.is_signed ? "s" : "u") + std::to_string(type.bits) + (type.narrow ? " narrow" : "");
}

// The definition, one fp32 operation at a time; nothing of it is shared with affine.cc.
int32_t CodeReference(float value, float scale, int32_t zero_point, const QuantType& type) {
  if (std::isnan(value)) return zero_point;
  const float ratio = value / scale;
  const double code = std::nearbyint(double{ratio}) + zero_point;
  return static_cast<int32_t>(std::clamp(code, double(type.min()), double(type.max())));
}

std::vector<int32_t> Codes(const std::vector<float>& values, const Shape& shape,
                           const QuantParams& params) {
  std::vector<int32_t> codes(values.size(), 12345);
  QuantizeValues(values, shape, params, absl::MakeSpan(codes));
  return codes;
}

// Which scale the element at `index` has: by its coordinates, one by one.
int64_t ScaleIndex(int64_t index, const Shape& shape, const QuantParams& params) {
  if (params.axis < 0) return 0;
  Shape place(shape.size());
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    place[i] = index % shape[i];
    index /= shape[i];
  }
  if (params.group == 0) return place[params.axis];
  place[params.axis] /= params.group;
  int64_t at = 0;
  for (int i = 0; i < static_cast<int>(shape.size()); ++i) {
    const int64_t extent =
        i == params.axis ? (shape[i] + params.group - 1) / params.group : shape[i];
    at = at * extent + place[i];
  }
  return at;
}

TEST(AffineTest, TypesHaveTheirCodes) {
  EXPECT_EQ((QuantType{.bits = 8}).min(), -128);
  EXPECT_EQ((QuantType{.bits = 8}).max(), 127);
  EXPECT_EQ((QuantType{.bits = 8, .narrow = true}).min(), -127);
  EXPECT_EQ((QuantType{.bits = 2, .narrow = true}).min(), -1);
  EXPECT_EQ((QuantType{.bits = 2, .narrow = true}).max(), 1);
  EXPECT_EQ((QuantType{.bits = 3, .is_signed = false}).min(), 0);
  EXPECT_EQ((QuantType{.bits = 3, .is_signed = false}).max(), 7);
}

TEST(AffineTest, RangesBecomeScaleAndZeroPoint) {
  const auto s8 = *ParamsForRange({.bits = 8}, -1, 2);
  EXPECT_EQ(s8.scales[0], 2.0f / 127);
  EXPECT_EQ(s8.zero_points[0], 0);
  const auto u8 = *ParamsForRange({.bits = 8, .is_signed = false}, -1, 1.55f);
  EXPECT_FLOAT_EQ(u8.scales[0], 2.55f / 255);
  EXPECT_EQ(u8.zero_points[0], 100);
  // Widened to hold 0.
  EXPECT_FLOAT_EQ(ParamsForRange({.bits = 4, .is_signed = false}, 1, 3)->scales[0], 3.0f / 15);
  EXPECT_EQ(ParamsForRange({.bits = 4, .is_signed = false}, 1, 3)->zero_points[0], 0);
  EXPECT_EQ(ParamsForRange({.bits = 4, .is_signed = false}, -3, -1)->zero_points[0], 15);
  for (const QuantType& type : AllTypes()) {
    const auto nothing = *ParamsForRange(type, 0, 0);
    EXPECT_THAT(nothing.scales, ElementsAre(1.0f));
    EXPECT_THAT(nothing.zero_points, ElementsAre(0));
  }
}

TEST(AffineTest, BadRangesAndTypesAreRefused) {
  for (const auto& [low, high] : std::vector<std::pair<float, float>>{
           {kNan, 1}, {0, kNan}, {-kInf, 0}, {0, kInf}, {1, -1}, {kNan, kNan}}) {
    for (const bool is_signed : {true, false}) {
      EXPECT_EQ(ParamsForRange({.is_signed = is_signed}, low, high).status().code(),
                absl::StatusCode::kInvalidArgument)
          << low << " " << high;
    }
  }
  for (const int bits : {-8, 0, 1, 9, 16}) {
    const auto status = ParamsForRange({.bits = bits}, 0, 1).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("bits"));
  }
  EXPECT_FALSE(ParamsForRange({.is_signed = false, .narrow = true}, 0, 1).ok());
}

// Ranges that are as small or large as floats get: every code stands for a finite number, zero is
// zero, and the ends come back within a step.
TEST(AffineTest, ExtremeRangesStayFinite) {
  const std::vector<float> ends = {0, kLeast, 1e-40f, kLeastNormal, 1e-30f,
                                   1, 1e30f,  1e38f,  kGreatest};
  for (const QuantType& type : AllTypes()) {
    for (const float below : ends) {
      for (const float above : ends) {
        SCOPED_TRACE(NameOf(type) + " " + std::to_string(below) + " " + std::to_string(above));
        const auto params = ParamsForRange(type, -below, above);
        ASSERT_TRUE(params.ok());
        ASSERT_TRUE(CheckParams(*params, {}).ok()) << CheckParams(*params, {}).message();
        const float scale = params->scales[0];
        EXPECT_GE(scale, kLeastNormal);
        std::vector<int32_t> ends_of_type = {type.min(), type.max()};
        std::vector<float> reals(2);
        DequantizeValues(ends_of_type, {2}, *params, absl::MakeSpan(reals));
        EXPECT_TRUE(std::isfinite(reals[0]) && std::isfinite(reals[1])) << reals[0] << reals[1];
        std::vector<float> values = {-below, above, 0};
        std::vector<float> back(3);
        FakeQuantize(values, {3}, *params, absl::MakeSpan(back));
        EXPECT_EQ(back[2], 0);
        // Near the greatest float a scale shrinks, so that no code overflows, and the ends clip.
        const double wanted = type.is_signed ? std::max(double{below}, double{above}) / type.max()
                                             : (double{below} + above) / type.max();
        if (scale < wanted * (1 - 1e-6)) {
          EXPECT_GT(std::max(below, above), kGreatest / 4);
          continue;
        }
        // Rounding the zero point may leave an end a little more than half a step beyond a code.
        EXPECT_NEAR(back[0], -double{below}, 0.51 * scale);
        EXPECT_NEAR(back[1], double{above}, 0.51 * scale);
      }
    }
  }
}

TEST(AffineTest, TiesGoToEven) {
  const QuantParams params = {.type = {.bits = 8}, .scales = {0.5f}, .zero_points = {0}};
  // Steps of one half: value = 0.5 * steps.
  EXPECT_THAT(Codes({0.25f, 0.75f, 1.25f, 1.75f, -0.25f, -0.75f, -1.25f, -1.75f}, {8}, params),
              ElementsAre(0, 2, 2, 4, 0, -2, -2, -4));
  // The zero point is added after rounding: an odd one does not turn ties.
  const QuantParams odd = {
      .type = {.bits = 8, .is_signed = false}, .scales = {0.5f}, .zero_points = {7}};
  EXPECT_THAT(Codes({0.25f, 0.75f, 1.25f, -0.25f, -0.75f}, {5}, odd), ElementsAre(7, 9, 9, 7, 5));
}

TEST(AffineTest, WhatIsBeyondTheCodesSaturatesAndNanIsZero) {
  for (const QuantType& type : AllTypes()) {
    const int zero_point = type.is_signed ? 0 : type.max() / 3;
    const QuantParams params = {.type = type, .scales = {0.1f}, .zero_points = {zero_point}};
    EXPECT_THAT(Codes({1e30f, -1e30f, kInf, -kInf, kGreatest, -kGreatest, kNan, -kNan, 0, -0.0f,
                       kLeast, -kLeast},
                      {12}, params),
                ElementsAre(type.max(), type.min(), type.max(), type.min(), type.max(), type.min(),
                            zero_point, zero_point, zero_point, zero_point, zero_point, zero_point))
        << NameOf(type);
  }
  // A scale so small that the quotient overflows.
  const QuantParams tiny = {.scales = {kLeast}, .zero_points = {0}};
  EXPECT_THAT(Codes({1, -1, 0, 3 * kLeast}, {4}, tiny), ElementsAre(127, -128, 0, 3));
}

TEST(AffineTest, EveryLayoutAgreesWithTheDefinition) {
  struct Layout {
    Shape shape;
    int axis;
    int64_t group;
  };
  const std::vector<Layout> layouts = {
      {{}, -1, 0},          {{0}, -1, 0},        {{1}, -1, 0},         {{7, 13}, -1, 0},
      {{1031}, -1, 0},      {{0}, 0, 0},         {{5}, 0, 0},          {{5, 0, 3}, 0, 0},
      {{5, 7, 3}, 0, 0},    {{5, 7, 3}, 1, 0},   {{5, 7, 3}, 2, 0},    {{1, 67}, 1, 0},
      {{67}, 0, 1},         {{67}, 0, 32},       {{67}, 0, 64},        {{67}, 0, 128},
      {{64, 5}, 0, 32},     {{5, 64}, 1, 32},    {{3, 67, 5}, 1, 32},  {{3, 67, 1}, 1, 32},
      {{2, 3, 131}, 2, 32}, {{33, 2, 2}, 0, 32}, {{4, 0}, 1, 32},      {{0, 64}, 1, 32},
      {{3, 5}, 1, 1 << 30}, {{2, 31, 17}, 1, 8}, {{1, 1, 1, 9}, 3, 4},
  };
  CounterRandom random(kSampleSeed);
  for (const Layout& layout : layouts) {
    for (const QuantType& type : AllTypes()) {
      SCOPED_TRACE(NameOf(type) + " " + ShapeString(layout.shape) + " axis " +
                   std::to_string(layout.axis) + " group " + std::to_string(layout.group));
      QuantParams params = {.type = type, .axis = layout.axis, .group = layout.group};
      const int64_t scales = *NumElements(ScaleShape(params, layout.shape));
      for (int64_t i = 0; i < scales; ++i) {
        params.scales.push_back(0.01f + random.NextFloat());
        params.zero_points.push_back(
            type.min() + static_cast<int32_t>(random.NextBelow(type.max() - type.min() + 1)));
      }
      ASSERT_TRUE(CheckParams(params, layout.shape).ok());
      const int64_t count = *NumElements(layout.shape);
      std::vector<float> values(count);
      for (float& value : values)
        value = static_cast<float>(random.NextNormal() * (1 << type.bits) / 4);
      const std::vector<int32_t> codes = Codes(values, layout.shape, params);
      std::vector<float> reals(count), fake(count), in_place = values;
      DequantizeValues(codes, layout.shape, params, absl::MakeSpan(reals));
      FakeQuantize(values, layout.shape, params, absl::MakeSpan(fake));
      FakeQuantize(in_place, layout.shape, params, absl::MakeSpan(in_place));
      for (int64_t i = 0; i < count; ++i) {
        const int64_t s = ScaleIndex(i, layout.shape, params);
        ASSERT_EQ(codes[i], CodeReference(values[i], params.scales[s], params.zero_points[s], type))
            << values[i] << " at " << i;
        // A product of two floats is exact in double; one rounding to float follows.
        const double exact = double{params.scales[s]} * (codes[i] - params.zero_points[s]);
        ASSERT_EQ(reals[i], static_cast<float>(exact));
        ASSERT_EQ(fake[i], reals[i]);
        ASSERT_EQ(in_place[i], reals[i]);
      }
    }
  }
}

// Against exact arithmetic: the code is the nearest one, but where fp32's quotient is within an ulp
// of a tie.
TEST(AffineTest, CodesAreTheNearest) {
  for (const QuantType& type : AllTypes()) {
    const auto params = *ParamsForRange(type, -1.3f, 2.1f);
    const double scale = params.scales[0];
    const std::vector<float> values = Uniform(4999, -3, 3);
    const std::vector<int32_t> codes = Codes(values, {4999}, params);
    int near_ties = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      const double steps = values[i] / scale;
      const double from_tie = std::fabs(std::fabs(steps - std::trunc(steps)) - 0.5);
      if (from_tie < 1e-4) {
        ++near_ties;
        continue;
      }
      ASSERT_EQ((codes[i] - params.zero_points[0]) * scale,
                QuantisedReference(values[i], scale, params.zero_points[0], type))
          << NameOf(type) << " " << values[i];
    }
    EXPECT_LT(near_ties, 10);
  }
}

TEST(AffineTest, EveryCodeComesBackAsItself) {
  for (const QuantType& type : AllTypes()) {
    const auto params = *ParamsForRange(type, -0.37f, 0.91f);
    std::vector<int32_t> codes;
    for (int32_t code = type.min(); code <= type.max(); ++code) codes.push_back(code);
    const Shape shape = {static_cast<int64_t>(codes.size())};
    std::vector<float> reals(codes.size());
    DequantizeValues(codes, shape, params, absl::MakeSpan(reals));
    EXPECT_EQ(Codes(reals, shape, params), codes) << NameOf(type);
  }
}

TEST(AffineTest, ParamsThatDoNotFitAreNamed) {
  const Shape shape = {4, 70};
  const auto refused = [&](const QuantParams& params, const char* what) {
    const absl::Status status = CheckParams(params, shape);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_THAT(status.message(), HasSubstr(what));
  };
  const QuantParams good = {.axis = 0, .scales = {1, 1, 1, 1}, .zero_points = {0, 0, 0, 0}};
  EXPECT_TRUE(CheckParams(good, shape).ok());
  const auto with = [&](auto change) {
    QuantParams params = good;
    change(params);
    return params;
  };
  refused(with([](QuantParams& p) { p.type.bits = 9; }), "bits");
  refused(with([](QuantParams& p) { p.type = {.is_signed = false, .narrow = true}; }), "narrow");
  refused(with([](QuantParams& p) { p.axis = 2; }), "axis");
  refused(with([](QuantParams& p) { p.axis = -2; }), "axis");
  refused(with([](QuantParams& p) { p.group = -1; }), "group");
  refused(with([](QuantParams& p) { p.axis = -1, p.group = 32; }), "group");
  refused(with([](QuantParams& p) { p.axis = 1; }), "4 scales where 70");
  refused(with([](QuantParams& p) { p.axis = 1, p.group = 32; }), "4 scales where 12");
  refused(with([](QuantParams& p) { p.zero_points.pop_back(); }), "zero points");
  for (const float scale : {0.0f, -1.0f, kNan, kInf, -kInf})
    refused(with([&](QuantParams& p) { p.scales[2] = scale; }), "scale 2");
  for (const int32_t zero_point : {-129, 128})
    refused(with([&](QuantParams& p) { p.zero_points[3] = zero_point; }), "zero point 3");
  EXPECT_EQ(CheckParams({.scales = {1}, .zero_points = {0}}, {2, -1}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(AffineTest, ScalesHaveOnnxShapes) {
  const Shape shape = {6, 70, 5};
  EXPECT_EQ(ScaleShape({}, shape), Shape());
  EXPECT_EQ(ScaleShape({.axis = 1}, shape), Shape({70}));
  EXPECT_EQ(ScaleShape({.axis = 1, .group = 32}, shape), Shape({6, 3, 5}));
  EXPECT_EQ(ScaleShape({.axis = 2, .group = 5}, shape), Shape({6, 70, 1}));
}

TEST(AffineDeathTest, SizesThatDoNotFitAreAProgrammingError) {
  const QuantParams params = {.scales = {1}, .zero_points = {0}};
  std::vector<float> values(6);
  std::vector<int32_t> codes(5);
  EXPECT_DEATH(QuantizeValues(values, {6}, params, absl::MakeSpan(codes)), "room for 5");
  EXPECT_DEATH(QuantizeValues(values, {5}, params, absl::MakeSpan(codes)), "6 values");
}

}  // namespace
}  // namespace ds
