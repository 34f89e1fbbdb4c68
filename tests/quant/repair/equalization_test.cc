#include "quant/repair/equalization.h"

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/affine.h"
#include "quant/weight_params.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kSeed = 7;

std::vector<float> Values(const Graph& graph, const std::string& name) {
  const auto span = graph.Constant(graph.FindValue(name))->span<float>();
  return {span.begin(), span.end()};
}

// Multiplies channel c of axis 0 by factors[c].
void ScaleRows(Graph& graph, const std::string& name, const std::vector<double>& factors) {
  Tensor& data = graph.mutable_initializers().at(graph.FindValue(name)).data;
  const auto values = data.mutable_span<float>();
  const size_t a_row = values.size() / factors.size();
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(values[i] * factors[i / a_row]);
}

// An inverted residual's way: pointwise, depthwise, pointwise, each channel of its own magnitude.
Graph Triple(const std::string& clamp = "Relu") {
  Builder b("triple", kSeed);
  const auto act = [&](ValueId x) { return clamp == "Relu" ? b.Relu(x) : b.Relu6(x); };
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  x = act(b.Conv(x, "expand", {.channels = 12, .kernel = 1, .bias = true}));
  x = act(b.Conv(x, "depthwise", {.channels = 12, .kernel = 3, .groups = 12, .bias = true}));
  b.Output(b.Conv(x, "project", {.channels = 5, .kernel = 1, .bias = true}), "y");
  auto graph = b.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<double> octaves(-5, 5);
  for (const char* name : {"expand.weight", "depthwise.weight"}) {
    std::vector<double> factors(12);
    for (double& factor : factors) factor = std::exp2(octaves(random));
    ScaleRows(*graph, name, factors);
  }
  return *std::move(graph);
}

std::vector<double> RowRanges(const std::vector<float>& values, size_t rows) {
  std::vector<double> ranges(rows, 0);
  for (size_t i = 0; i < values.size(); ++i)
    ranges[i / (values.size() / rows)] =
        std::max(ranges[i / (values.size() / rows)], std::abs(double{values[i]}));
  return ranges;
}

std::vector<double> ColumnRanges(const std::vector<float>& values, size_t columns) {
  std::vector<double> ranges(columns, 0);
  for (size_t i = 0; i < values.size(); ++i)
    ranges[i % columns] = std::max(ranges[i % columns], std::abs(double{values[i]}));
  return ranges;
}

TEST(Equalization, BothLayersOfAPairSpanTheSameRangeInEveryChannel) {
  Graph graph = Triple();
  const auto report = EqualizeLayers(graph);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->converged);
  ASSERT_THAT(report->pairs, SizeIs(2));
  EXPECT_EQ(report->pairs[1].second, "project");
  const std::vector<double> first = RowRanges(Values(graph, "expand.weight"), 12),
                            middle = RowRanges(Values(graph, "depthwise.weight"), 12),
                            last = ColumnRanges(Values(graph, "project.weight"), 12);
  for (size_t c = 0; c < 12; ++c) {
    EXPECT_NEAR(middle[c] / first[c], 1, 1e-5) << c;
    EXPECT_NEAR(last[c] / middle[c], 1, 1e-5) << c;
  }
}

// Of three ranges a, b, c in a row the product does not change, so each becomes its cube root.
TEST(Equalization, ATriplesRangesAreTheGeometricMean) {
  const Graph before = Triple();
  Graph graph = before;
  ASSERT_TRUE(EqualizeLayers(graph).ok());
  const std::vector<double> first = RowRanges(Values(before, "expand.weight"), 12),
                            middle = RowRanges(Values(before, "depthwise.weight"), 12),
                            last = ColumnRanges(Values(before, "project.weight"), 12),
                            now = RowRanges(Values(graph, "expand.weight"), 12);
  for (size_t c = 0; c < 12; ++c)
    EXPECT_NEAR(now[c] / std::cbrt(first[c] * middle[c] * last[c]), 1, 1e-4) << c;
  EXPECT_EQ(Values(before, "expand.weight"), Values(Triple(), "expand.weight"))
      << "the other copy of the graph changed";
}

double SignalToNoiseOfOneScale(const Graph& graph, const std::string& name) {
  const Tensor& weight = *graph.Constant(graph.FindValue(name));
  const auto params =
      ChooseWeightParams(weight.span<float>(), weight.shape(),
                         {.axis = QuantParams::kWholeTensor, .method = WeightRangeMethod::kMse});
  std::vector<float> rounded(static_cast<size_t>(weight.num_elements()));
  FakeQuantize(weight.span<float>(), weight.shape(), *params, absl::MakeSpan(rounded));
  // Relative to each channel's own power: a small channel counts as much as a large one.
  double share = 0;
  const size_t rows = static_cast<size_t>(weight.dim(0)), a_row = rounded.size() / rows;
  for (size_t r = 0; r < rows; ++r) {
    double power = 0, noise = 0;
    for (size_t i = r * a_row; i < (r + 1) * a_row; ++i) {
      const double w = weight.span<float>()[i];
      power += w * w;
      noise += (w - rounded[i]) * (w - rounded[i]);
    }
    share += noise / power / static_cast<double>(rows);
  }
  return -10 * std::log10(share);
}

TEST(Equalization, OneScaleForATensorThenServesAllItsChannels) {
  Graph graph = Triple();
  const double expand = SignalToNoiseOfOneScale(graph, "expand.weight"),
               depthwise = SignalToNoiseOfOneScale(graph, "depthwise.weight");
  ASSERT_TRUE(EqualizeLayers(graph).ok());
  EXPECT_GT(SignalToNoiseOfOneScale(graph, "expand.weight"), expand + 6);
  EXPECT_GT(SignalToNoiseOfOneScale(graph, "depthwise.weight"), depthwise + 6);
}

TEST(Equalization, AClipSeparates) {
  Graph graph = Triple("Relu6");
  const Graph before = graph;
  const auto report = EqualizeLayers(graph);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->pairs, IsEmpty());
  ASSERT_THAT(report->skipped, SizeIs(3));
  EXPECT_THAT(report->skipped[1], HasSubstr("behind Clip"));
  EXPECT_EQ(Values(graph, "expand.weight"), Values(before, "expand.weight"));
}

TEST(Equalization, ValuesReadTwiceAndSharedWeightsAreLeftAlone) {
  Builder b("branches", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4, 6, 6});
  const ValueId a = b.Relu(b.Conv(x, "a", {.channels = 4, .bias = true}));
  const ValueId w =
      b.Parameter("w", Tensor::From<float>({4, 4, 1, 1}, std::vector<float>(16, 0.5f)));
  const ValueId c = b.Relu(b.Op("Conv", {b.Relu(b.Conv(a, "b", {.channels = 4})), w}, {}, "c"));
  b.Output(b.Add(b.Op("Conv", {c, w}, {}, "d"), a), "y");
  Graph graph = *b.Finish();
  const Graph before = graph;
  const auto report = EqualizeLayers(graph);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_THAT(report->pairs, IsEmpty());
  EXPECT_THAT(report->skipped,
              ElementsAre(HasSubstr("a: reads the model's input"), HasSubstr("b: value"),
                          HasSubstr("c: c shares its weight"), HasSubstr("shares its weight")));
  EXPECT_EQ(Values(graph, "a.weight"), Values(before, "a.weight"));
}

TEST(Equalization, DeadChannelsKeepTheirScaleAndNaNIsNamed) {
  Graph graph = Triple();
  std::vector<double> dead(12, 1.0);
  dead[4] = 0;
  ScaleRows(graph, "depthwise.weight", dead);
  ASSERT_TRUE(EqualizeLayers(graph).ok());
  for (const char* name : {"expand.weight", "depthwise.weight", "project.weight", "expand.bias"}) {
    for (const float value : Values(graph, name)) EXPECT_TRUE(std::isfinite(value)) << name;
  }
  dead[4] = std::numeric_limits<double>::quiet_NaN();
  ScaleRows(graph, "depthwise.weight", dead);
  const auto status = EqualizeLayers(graph).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("depthwise.weight"));
  EXPECT_EQ(EqualizeLayers(graph, {.most_sweeps = 0}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds
