#include <cmath>

#include "base/tensor/int_tensor.h"
#include "deploy/insert_qdq.h"
#include "gmock/gmock.h"
#include "graph/schema/schema.h"
#include "gtest/gtest.h"
#include "tests/deploy/qdq_testing.h"

namespace ds {
namespace {

using ::testing::ElementsAre;

TEST(QdqWeightsTest, AWeightIsStoredInTheSmallestTypeThatHoldsItsCodes) {
  const struct {
    int bits;
    DType stored;
  } cases[] = {{2, DType::kInt2}, {3, DType::kInt4}, {4, DType::kInt4},
               {5, DType::kInt8}, {7, DType::kInt8}, {8, DType::kInt8}};
  for (const auto& test : cases) {
    for (const SmallWeights form : {SmallWeights::kCast, SmallWeights::kDirect}) {
      QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
      plan.weights = {{"c.weight", Weight(4, test.bits, 0.1f)}};
      const Graph out = Insert(ConvThen("Relu"), plan, nullptr, {.small_weights = form});
      const Node* node =
          &Maker(out, Maker(out, Maker(out, Maker(out, "y").inputs[0]).inputs[0]).inputs[1]);
      EXPECT_EQ(node->op, "DequantizeLinear");
      EXPECT_EQ(node->GetInt("axis", 1), 0);
      const bool cast = BitWidth(test.stored) < 8 && form == SmallWeights::kCast;
      if (cast) {
        node = &Maker(out, node->inputs[0]);
        EXPECT_EQ(node->op, "Cast");
        EXPECT_EQ(node->GetInt("to", 0), OnnxTypeNumber(DType::kInt8));
      }
      ASSERT_NE(out.Constant(node->inputs[0]), nullptr);
      EXPECT_EQ(out.Constant(node->inputs[0])->dtype(), test.stored) << test.bits;
    }
  }
}

TEST(QdqWeightsTest, WeightCodesAreThoseOfThePlan) {
  const Graph graph = ConvThen("Relu");
  const QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
  const Graph out = Insert(graph, plan);
  const Tensor& weight = *graph.Constant(graph.FindValue("c.weight"));
  std::vector<int32_t> wanted(static_cast<size_t>(weight.num_elements()));
  QuantizeValues(weight.span<float>(), weight.shape(), plan.weights.at("c.weight"),
                 absl::MakeSpan(wanted));
  EXPECT_EQ(*IntValues(*out.Constant(out.FindValue("c.weight.codes"))), wanted);
}

TEST(QdqWeightsTest, ABiasIsInt32OfBothScales) {
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data =
      Tensor::From<float>({4}, {1.0f, -0.5f, 0.0f, 1e-4f});
  const Graph out = Insert(graph, PlanFor(Codes(0.02f), Codes(0.03f)));
  const Node& bias = Maker(out, "c.bias.dequantized");
  EXPECT_EQ(bias.op, "DequantizeLinear");
  EXPECT_EQ(bias.GetInt("axis", 1), 0);
  EXPECT_THAT(out.Constant(bias.inputs[0])->span<int32_t>(), ElementsAre(5000, -2500, 0, 0));
  EXPECT_EQ(Maker(out, bias.inputs[1]).op, "Mul");
}

TEST(QdqWeightsTest, ABiasOfSmallCodesIsStoredAsInt16) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 8});
  b.Output(b.Linear(x, "fc", 40), "y");
  Graph graph = *b.Finish();
  std::vector<float> bias(40, 0.5f);
  const QuantPlan plan = {.activations = {{"x", Codes(0.01f)}},
                          .weights = {{"fc.weight", Weight(40, 8, 0.01f)}}};
  for (const float last : {3.2767f, 3.2768f}) {
    bias[39] = last;
    graph.mutable_initializers().at(graph.FindValue("fc.bias")).data =
        Tensor::From<float>({40}, bias);
    const Graph out = Insert(graph, plan);
    const Tensor& codes = *out.Constant(out.FindValue("fc.bias.codes"));
    EXPECT_EQ(codes.dtype(), last < 3.2768f ? DType::kInt16 : DType::kInt32);
    EXPECT_EQ((*IntValues(codes))[39], last < 3.2768f ? 32767 : 32768);
    const Node& real = Maker(out, "fc.bias.dequantized");
    EXPECT_EQ(out.value(real.inputs[0]).dtype, DType::kInt32);
  }
}

TEST(QdqWeightsTest, AWeightScaleGrowsUntilTheBiasFits) {
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data =
      Tensor::From<float>({4}, {3e5f, -1.0f, -4e6f, 0.0f});
  QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
  plan.weights["c.weight"].scales = {1e-9f, 1e-3f, 1e-7f, 1e-38f};
  QdqReport report;
  const Graph out = Insert(graph, plan, &report);
  EXPECT_THAT(report.enlarged, ElementsAre("c.weight"));
  const auto scales = out.Constant(out.FindValue("c.weight.scale"))->span<float>();
  const auto codes = out.Constant(out.FindValue("c.bias.codes"))->span<int32_t>();
  EXPECT_EQ(scales[1], 1e-3f);  // it did fit
  for (const size_t channel : {0u, 2u}) {
    EXPECT_LE(std::abs(static_cast<double>(codes[channel])), 1073741824.0);
    EXPECT_GT(std::abs(static_cast<double>(codes[channel])), 1073741000.0) << "no more than needed";
    const float bias = graph.Constant(graph.FindValue("c.bias"))->span<float>()[channel];
    EXPECT_NEAR(static_cast<double>(codes[channel]) * scales[channel] * 0.02f / bias, 1.0, 1e-6);
  }
  EXPECT_TRUE(std::isnormal(scales[3] * 0.02f));
  // Codes follow the scale that is written.
  const Tensor& weight = *graph.Constant(graph.FindValue("c.weight"));
  const auto weight_codes = *IntValues(*out.Constant(out.FindValue("c.weight.codes")));
  EXPECT_EQ(weight_codes[0], std::nearbyint(weight.span<float>()[0] / scales[0]));
}

TEST(QdqWeightsTest, ASharedWeightIsWrittenOnceWithScalesThatFitBothBiases) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4, 6, 6});
  const ValueId w =
      b.Parameter("w", Tensor::From<float>({4, 4, 1, 1}, std::vector<float>(16, 0.5f)));
  const ValueId small = b.Parameter("small", Tensor::From<float>({4}, {0, 0, 0, 0}));
  const ValueId large = b.Parameter("large", Tensor::From<float>({4}, {0, 1e6f, 0, 0}));
  const ValueId first = b.Op("Conv", {x, w, small}, {}, "first");
  b.Output(b.Op("Conv", {first, w, large}, {}, "second"), "y");
  QuantPlan plan;
  plan.activations = {{"x", Codes(0.01f)}, {"first.out", Codes(0.02f)}, {"y", Codes(0.03f)}};
  plan.weights = {{"w", Weight(4, 8, 1e-6f)}};
  const Graph out = Insert(*b.Finish(), plan);
  EXPECT_EQ(Maker(out, "y.real").inputs[1], Maker(out, "first.out.real").inputs[1]);
  const auto scales = out.Constant(out.FindValue("w.scale"))->span<float>();
  EXPECT_EQ(scales[0], 1e-6f);
  EXPECT_GE(scales[1] * 0.02, 1e6 / 1073741824.0 * 0.999999);
}

// With scale 1, as calibration gives it, the bias would be rounded to steps of the input's scale.
// What ONNX Runtime fuses takes scales for output channels, whatever axis they are for.
TEST(QdqWeightsTest, AWeightThatIsReadInTwoLayoutsIsWrittenOnceALayout) {
  Builder b("net", 1);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 5});
  const ValueId w = b.Parameter(
      "w", Tensor::From<float>({3, 5}, {1, 2, 3, 4, 5, -1, 1, -1, 1, -1, .1f, .2f, .3f, .4f, .5f}));
  x = b.Op("Gemm", {x, w}, {{"transB", int64_t{1}}}, "first");
  x = b.Op("Gemm", {x, w}, {}, "back");
  b.Output(b.Op("Gemm", {x, w}, {{"transB", int64_t{1}}}, "again"), "y");
  const Graph graph = *b.Finish();
  QuantPlan plan;
  plan.weights = {{"w", Weight(3, 8, 0.05f)}};
  const Graph out = Insert(graph, plan);
  const auto weight_of = [&](const std::string& name) -> const Node& {
    for (const Node& node : out.nodes()) {
      if (node.name == name) return Maker(out, node.inputs[1]);
    }
    ADD_FAILURE() << "no node " << name;
    return out.nodes()[0];
  };
  EXPECT_EQ(weight_of("first").GetInt("axis", -1), 0);
  EXPECT_EQ(weight_of("back").GetInt("axis", -1), 1);
  EXPECT_EQ(weight_of("first").outputs, weight_of("again").outputs);
  const Tensor& scales = *out.Constant(weight_of("back").inputs[1]);
  ASSERT_EQ(scales.num_elements(), 5);
  for (int64_t column = 0; column < 5; ++column) {
    const float most = std::max(1.0f, static_cast<float>(column + 1));
    EXPECT_FLOAT_EQ(scales.span<float>()[column], most / 127);
  }
}

TEST(QdqWeightsTest, AChannelOfZerosKeepsItsBias) {
  Graph graph = ConvThen("");
  Tensor& weight = graph.mutable_initializers().at(graph.FindValue("c.weight")).data;
  weight = weight.Clone();
  const int64_t row = weight.num_elements() / weight.dim(0);
  for (int64_t i = row; i < 2 * row; ++i) weight.mutable_span<float>()[i] = 0;
  const std::vector<float> bias = {0.3f, -0.0237f, 0.2f, 0.1f};
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data = Tensor::From<float>({4}, bias);
  QuantPlan plan = PlanFor(Codes(0.02f, 7), Codes(0.03f, 90));
  plan.weights["c.weight"].scales[1] = 1.0f;
  const Graph out = Insert(graph, plan);
  const Node* conv = nullptr;
  for (const Node& node : out.nodes()) {
    if (node.op == "Conv") conv = &node;
  }
  ASSERT_NE(conv, nullptr);
  const float scale = out.Constant(Maker(out, conv->inputs[1]).inputs[1])->span<float>()[1];
  const auto codes = IntValues(*out.Constant(Maker(out, conv->inputs[2]).inputs[0]));
  ASSERT_TRUE(codes.ok());
  EXPECT_NEAR((*codes)[1] * static_cast<double>(scale) * 0.02f, bias[1], 0.0237 / 32768 * 1.01);
  // The others are as they were.
  EXPECT_EQ(out.Constant(Maker(out, conv->inputs[1]).inputs[1])->span<float>()[0], 0.01f);
}

}  // namespace
}  // namespace ds
