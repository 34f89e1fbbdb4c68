#include "quant/repair/bias_range.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/repair/bias_repair.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

QuantParams Params(std::vector<float> scales, int axis = 0, int bits = 8) {
  QuantParams params = {.type = {.bits = bits, .is_signed = true, .narrow = true}, .axis = axis};
  params.zero_points.assign(scales.size(), 0);
  params.scales = std::move(scales);
  return params;
}

// Two channels of two 8-bit weights.
LayerSums TwoByTwo(absl::Span<const float> weights, absl::Span<const float> bias) {
  static const Shape shape = {2, 2};
  return {
      .weights = weights, .shape = shape, .bias = bias, .input_scale = 0.02f, .most_input = 255};
}

// Codes as the exporter makes them, summed at their worst, in double precision.
double WorstSum(const std::vector<float>& weights, float scale, float bias, float input_scale,
                int64_t most_input) {
  double sum = 0;
  for (const float w : weights)
    sum += std::min(127.0, std::nearbyint(std::abs(static_cast<double>(w)) / scale));
  return sum * static_cast<double>(most_input) +
         std::nearbyint(std::abs(static_cast<double>(bias)) /
                        static_cast<double>(scale * input_scale));
}

TEST(BiasRange, WhatFitsStays) {
  const std::vector<float> weights = {1, -2, 3, 4}, bias = {1000, -1000};
  QuantParams params = Params({1e-3f, 1e-4f});
  const QuantParams before = params;
  EXPECT_THAT(RaiseScalesForInt32(TwoByTwo(weights, bias), params), IsEmpty());
  EXPECT_EQ(params, before);
}

TEST(BiasRange, ADeadChannelsScaleGrowsByAsLittleAsPossible) {
  const std::vector<float> weights = {1, -2, 1e-12f, 2e-12f}, bias = {0.5f, -3.0f};
  QuantParams params = Params({0.02f, 1e-14f});
  EXPECT_THAT(RaiseScalesForInt32(TwoByTwo(weights, bias), params), ElementsAre(1));
  EXPECT_EQ(params.scales[0], 0.02f);
  const float raised = params.scales[1];
  // |bias| / (scale * input scale) = 2^30, solved by hand.
  EXPECT_NEAR(raised, 3.0 / 1073741824.0 / 0.02, 1e-6 * raised);
  EXPECT_LE(3.0 / static_cast<double>(raised * 0.02f), 1073741824.0);
  EXPECT_GT(3.0 / static_cast<double>(std::nextafter(raised, 0.0f) * 0.02f), 1073741824.0)
      << "the scale before would have done";
}

// 2^17 weights at the last code: their products alone pass 2^31.
TEST(BiasRange, TheSumOfProductsCounts) {
  const std::vector<float> weights(131072, 0.5f), bias = {100.0f};
  const float scale = 0.5f / 127, input_scale = 0.01f;
  ASSERT_GT(WorstSum(weights, scale, 100.0f, input_scale, 255), 2147483647.0);
  QuantParams params = Params({scale});
  EXPECT_THAT(RaiseScalesForInt32({.weights = weights,
                                   .shape = Shape{1, 131072},
                                   .bias = bias,
                                   .input_scale = input_scale,
                                   .most_input = 255},
                                  params),
              ElementsAre(0));
  const float raised = params.scales[0];
  EXPECT_LE(WorstSum(weights, raised, 100.0f, input_scale, 255), 2147483647.0);
  EXPECT_GT(WorstSum(weights, std::nextafter(raised, 0.0f), 100.0f, input_scale, 255),
            2147483647.0);
  EXPECT_LT(raised, 3 * scale);
}

TEST(BiasRange, OneScaleForAllFitsTheWorstChannelAndTheOtherAxisIsSeen) {
  const std::vector<float> weights = {1, 1e-3f, 1, 1e-3f}, bias = {0, 4e6f};
  const Shape shape = {2, 2};
  QuantParams whole = Params({1e-4f}, QuantParams::kWholeTensor);
  const LayerSums layer = {.weights = weights,
                           .shape = shape,
                           .channel_axis = 1,
                           .bias = bias,
                           .input_scale = 0.01f,
                           .most_input = 128};
  EXPECT_THAT(RaiseScalesForInt32(layer, whole), ElementsAre(1));
  EXPECT_NEAR(whole.scales[0], 4e6 / 1073741824.0 / 0.01, 1e-6);
  QuantParams channels = Params({1e-4f, 1e-4f}, 1);
  EXPECT_THAT(RaiseScalesForInt32(layer, channels), ElementsAre(1));
  EXPECT_THAT(channels.scales, ElementsAre(1e-4f, whole.scales[0]));
  // Scales for groups along the inputs: the bias stays float.
  QuantParams groups = Params({1e-9f, 1e-9f}, 0);
  groups.group = 32;
  EXPECT_THAT(RaiseScalesForInt32(layer, groups), IsEmpty());
}

TEST(BiasRange, ProductsOfScalesAreNormalAndWhatNoScaleHoldsIsInf) {
  const std::vector<float> weights = {1e-38f};
  QuantParams params = Params({1e-38f});
  EXPECT_THAT(
      RaiseScalesForInt32(
          {.weights = weights, .shape = Shape{1, 1}, .input_scale = 1e-3f, .most_input = 255},
          params),
      ElementsAre(0));
  EXPECT_TRUE(std::isnormal(params.scales[0] * 1e-3f));
  const std::vector<float> bias = {3e38f};
  params = Params({1.0f});
  RaiseScalesForInt32({.weights = weights,
                       .shape = Shape{1, 1},
                       .bias = bias,
                       .input_scale = 1e-30f,
                       .most_input = 255},
                      params);
  EXPECT_TRUE(std::isinf(params.scales[0]));
}

TEST(BiasRange, MostInputIsTheFurtherEndFromTheZeroPoint) {
  const auto of = [](QuantType type, int32_t zero) {
    return MostInput({.type = type, .scales = {1}, .zero_points = {zero}});
  };
  EXPECT_EQ(of({8, false}, 0), 255);
  EXPECT_EQ(of({8, false}, 200), 200);
  EXPECT_EQ(of({8, true}, 0), 128);
  EXPECT_EQ(of({4, false}, 5), 10);
}

TEST(FitBiases, NamesLayerAndChannelsAndRefusesWhatIsNotFinite) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4});
  b.Output(b.Linear(x, "fc", 3), "y");
  Graph graph = *b.Finish();
  const auto set_bias = [&](std::vector<float> bias) {
    graph.mutable_initializers().at(graph.FindValue("fc.bias")).data =
        Tensor::From<float>({3}, bias);
  };
  const int axis = SelectForQuantization(graph).weights[0].channel_axis;
  QuantPlan plan = {
      .activations = {{"x", {.type = {8, false}, .scales = {0.01f}, .zero_points = {0}}}},
      .weights = {{"fc.weight", Params({1e-3f, 1e-12f, 1e-3f}, axis)}}};
  set_bias({1, 1, 1});
  const auto raised = FitBiases(graph, SelectForQuantization(graph), plan);
  ASSERT_TRUE(raised.ok()) << raised.status();
  ASSERT_EQ(raised->size(), 1u);
  EXPECT_THAT(raised->front().channels, ElementsAre(1));
  EXPECT_THAT(Describe(raised->front()), HasSubstr("channel 1 "));
  EXPECT_THAT(Describe(raised->front()), HasSubstr("\"fc.weight\""));
  EXPECT_THAT(*FitBiases(graph, SelectForQuantization(graph), plan), IsEmpty())
      << "a second time nothing is left to do";
  set_bias({1, std::numeric_limits<float>::quiet_NaN(), 1});
  EXPECT_THAT(FitBiases(graph, SelectForQuantization(graph), plan).status().message(),
              HasSubstr("fc.bias"));
}

}  // namespace
}  // namespace ds
