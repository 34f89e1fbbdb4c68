#include "deploy/qdq.h"

#include <cmath>
#include <limits>

#include "base/int_tensor.h"
#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

QuantParams Codes(float scale, int32_t zero_point = 0, QuantType type = {8, false, false}) {
  return {.type = type, .scales = {scale}, .zero_points = {zero_point}};
}

QuantParams Weight(int64_t channels, int bits = 8, float scale = 0.01f, int axis = 0) {
  const size_t count = static_cast<size_t>(channels);
  return {.type = {bits, true, true},
          .axis = axis,
          .scales = std::vector<float>(count, scale),
          .zero_points = std::vector<int32_t>(count, 0)};
}

// The node that writes the value of this name; fails the test if none does.
const Node& Maker(const Graph& graph, const std::string& value) {
  static const Node& none = *new Node;
  const int index = graph.Producer(graph.FindValue(value));
  EXPECT_GE(index, 0) << "nothing writes " << value;
  return index < 0 ? none : graph.nodes()[index];
}

const Node& Maker(const Graph& graph, ValueId id) { return Maker(graph, graph.value(id).name); }

// Operators from a value back to where it comes from, through input 0.
std::vector<std::string> Chain(const Graph& graph, const std::string& value) {
  std::vector<std::string> ops;
  ValueId id = graph.FindValue(value);
  for (int i = graph.Producer(id); i >= 0; i = graph.Producer(id)) {
    ops.push_back(graph.nodes()[i].op);
    if (graph.nodes()[i].inputs.empty()) break;
    id = graph.nodes()[i].inputs[0];
  }
  return ops;
}

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

Graph Insert(const Graph& graph, const QuantPlan& plan, QdqReport* report = nullptr, const QdqOptions& options = {}) {
  absl::StatusOr<Graph> result = InsertQdq(graph, plan, options, report);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : Graph();
}

std::string Why(const QdqReport& report, const std::string& node) {
  for (const NodeFate& fate : report.nodes) {
    if (fate.node == node) return fate.quantised ? "integer" : fate.reason;
  }
  return "not in the report";
}

// y = act(Conv(x)): "x" -> "c.out" -> "act.out" (the output if there is no activation).
Graph ConvThen(const std::string& act, bool bias = true) {
  Builder b("net", 1);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 6, 6});
  x = b.Conv(x, "c", {.channels = 4, .bias = bias});
  if (act == "Clip") x = b.Op("Clip", {x, b.Scalar(0.0f), b.Scalar(6.0f)}, {}, "act");
  else if (!act.empty()) x = b.Op(act, {x}, {}, "act");
  b.Output(x, "y");
  return *b.Finish();
}

QuantPlan PlanFor(const QuantParams& in, const QuantParams& out) {
  QuantPlan plan;
  plan.activations = {{"x", in}, {"y", out}};
  plan.weights = {{"c.weight", Weight(4)}};
  return plan;
}

TEST(QdqTest, AReluIsLeftToTheSaturationOfUnsignedCodes) {
  const Graph graph = ConvThen("Relu");
  QuantPlan plan = PlanFor(Codes(0.02f, 128), Codes(0.03f));
  plan.activations["c.out"] = Codes(0.05f, 100);  // must not split the pair
  QdqReport report;
  const Graph out = Insert(graph, plan, &report);
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Conv", "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Why(report, "c"), "integer");
  EXPECT_EQ(Why(report, "act"), "integer");
}

TEST(QdqTest, AReluBeforeOtherCodesStaysAndItsConvolutionStaysInFloat) {
  for (const QuantParams& codes : {Codes(0.03f, 3), Codes(0.03f, 0, {8, true, false})}) {
    QdqReport report;
    const Graph out = Insert(ConvThen("Relu"), PlanFor(Codes(0.02f), codes), &report);
    EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Relu", "Conv", "DequantizeLinear", "QuantizeLinear"));
    EXPECT_THAT(Why(report, "c"), HasSubstr("Relu"));
    EXPECT_NE(Why(report, "act"), "integer");
  }
  // With codes of its own the convolution is integer all the same.
  QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f, 3));
  plan.activations["c.out"] = Codes(0.05f, 100);
  QdqReport report;
  Insert(ConvThen("Relu"), plan, &report);
  EXPECT_EQ(Why(report, "c"), "integer");
}

TEST(QdqTest, AClipIsLeftToSaturationOnlyWhereCodesEndWithinIt) {
  const auto has_clip = [](float scale) {
    const Graph out = Insert(ConvThen("Clip"), PlanFor(Codes(0.02f), Codes(scale)));
    return Maker(out, Maker(out, Maker(out, "y").inputs[0]).inputs[0]).op == "Clip";
  };
  EXPECT_FALSE(has_clip(6.0f / 255));
  EXPECT_FALSE(has_clip(5.0f / 255));  // codes end at 5
  EXPECT_TRUE(has_clip(6.1f / 255));   // 6 is code 250.8
  EXPECT_FALSE(has_clip(6.005f / 255));  // 6 is code 254.8, rounded to the last one
}

TEST(QdqTest, AConvolutionReadByOthersTooKeepsItsCodes) {
  Builder b("net", 1);
  const ValueId c = b.Conv(b.Input("x", DType::kFloat32, {1, 3, 6, 6}), "c", {.channels = 4});
  b.Output(b.Op("Add", {b.Op("Relu", {c}, {}, "act"), c}, {}, "sum"), "y");
  QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.1f, 20));
  plan.activations["c.out"] = Codes(0.05f, 100);
  plan.activations["act.out"] = Codes(0.05f);
  QdqReport report;
  const Graph out = Insert(*b.Finish(), plan, &report);
  EXPECT_THAT(Chain(out, "act.out"), ElementsAre("DequantizeLinear", "QuantizeLinear", "DequantizeLinear", "QuantizeLinear", "Conv",
                                                 "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Why(report, "c"), "integer");
  EXPECT_EQ(Why(report, "sum"), "integer");
}

TEST(QdqTest, AWeightIsStoredInTheSmallestTypeThatHoldsItsCodes) {
  const struct {
    int bits;
    DType stored;
  } cases[] = {{2, DType::kInt2}, {3, DType::kInt4}, {4, DType::kInt4}, {5, DType::kInt8}, {7, DType::kInt8}, {8, DType::kInt8}};
  for (const auto& test : cases) {
    for (const SmallWeights form : {SmallWeights::kCast, SmallWeights::kDirect}) {
      QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
      plan.weights = {{"c.weight", Weight(4, test.bits, 0.1f)}};
      const Graph out = Insert(ConvThen("Relu"), plan, nullptr, {.small_weights = form});
      const Node* node = &Maker(out, Maker(out, Maker(out, Maker(out, "y").inputs[0]).inputs[0]).inputs[1]);
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

TEST(QdqTest, WeightCodesAreThoseOfThePlan) {
  const Graph graph = ConvThen("Relu");
  const QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
  const Graph out = Insert(graph, plan);
  const Tensor& weight = *graph.Constant(graph.FindValue("c.weight"));
  std::vector<int32_t> wanted(static_cast<size_t>(weight.num_elements()));
  QuantizeValues(weight.span<float>(), weight.shape(), plan.weights.at("c.weight"), absl::MakeSpan(wanted));
  EXPECT_EQ(*IntValues(*out.Constant(out.FindValue("c.weight.codes"))), wanted);
}

TEST(QdqTest, ABiasIsInt32OfBothScales) {
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data = Tensor::From<float>({4}, {1.0f, -0.5f, 0.0f, 1e-4f});
  const Graph out = Insert(graph, PlanFor(Codes(0.02f), Codes(0.03f)));
  const Node& bias = Maker(out, "c.bias.dequantized");
  EXPECT_EQ(bias.op, "DequantizeLinear");
  EXPECT_EQ(bias.GetInt("axis", 1), 0);
  EXPECT_THAT(out.Constant(bias.inputs[0])->span<int32_t>(), ElementsAre(5000, -2500, 0, 0));
  EXPECT_EQ(Maker(out, bias.inputs[1]).op, "Mul");
}

TEST(QdqTest, ABiasOfSmallCodesIsStoredAsInt16) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 8});
  b.Output(b.Linear(x, "fc", 40), "y");
  Graph graph = *b.Finish();
  std::vector<float> bias(40, 0.5f);
  const QuantPlan plan = {.activations = {{"x", Codes(0.01f)}}, .weights = {{"fc.weight", Weight(40, 8, 0.01f)}}};
  for (const float last : {3.2767f, 3.2768f}) {
    bias[39] = last;
    graph.mutable_initializers().at(graph.FindValue("fc.bias")).data = Tensor::From<float>({40}, bias);
    const Graph out = Insert(graph, plan);
    const Tensor& codes = *out.Constant(out.FindValue("fc.bias.codes"));
    EXPECT_EQ(codes.dtype(), last < 3.2768f ? DType::kInt16 : DType::kInt32);
    EXPECT_EQ((*IntValues(codes))[39], last < 3.2768f ? 32767 : 32768);
    const Node& real = Maker(out, "fc.bias.dequantized");
    EXPECT_EQ(out.value(real.inputs[0]).dtype, DType::kInt32);
  }
}

TEST(QdqTest, AWeightScaleGrowsUntilTheBiasFits) {
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data = Tensor::From<float>({4}, {3e5f, -1.0f, -4e6f, 0.0f});
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

TEST(QdqTest, ASharedWeightIsWrittenOnceWithScalesThatFitBothBiases) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4, 6, 6});
  const ValueId w = b.Parameter("w", Tensor::From<float>({4, 4, 1, 1}, std::vector<float>(16, 0.5f)));
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

TEST(QdqTest, WhatOnlyMovesElementsPassesOnItsInputsCodes) {
  Builder b("net", 1);
  ValueId x = b.Input("x", DType::kFloat32, {1, 3, 6, 6});
  x = b.MaxPool(x, {.kernel = 2, .stride = 2});
  x = b.Flatten(x);
  b.Output(b.Linear(x, "fc", 5), "y");
  QuantPlan plan;
  plan.activations = {{"x", Codes(0.02f, 7)}, {"Flatten_0.out", Codes(0.5f, 9)}};
  plan.weights = {{"fc.weight", Weight(5)}};
  QdqReport report;
  const Graph out = Insert(*b.Finish(), plan, &report);
  EXPECT_THAT(Chain(out, "Flatten_0.out"),
              ElementsAre("DequantizeLinear", "QuantizeLinear", "Flatten", "DequantizeLinear", "QuantizeLinear", "MaxPool",
                          "DequantizeLinear", "QuantizeLinear"));
  const Node& last = Maker(out, "Flatten_0.out");
  EXPECT_EQ(out.Constant(last.inputs[1])->span<float>()[0], 0.02f);
  EXPECT_EQ(out.Constant(last.inputs[2])->span<uint8_t>()[0], 7);
  // A Gemm may give float, and its weight wants its zero point.
  EXPECT_EQ(Why(report, "fc"), "integer");
  EXPECT_EQ(Maker(out, "y").op, "Gemm");
  EXPECT_EQ(Maker(out, Maker(out, "y").inputs[1]).inputs.size(), 3u);
}

TEST(QdqTest, AMeanOverSpaceBecomesAPool) {
  for (const int64_t keep : {0, 1}) {
    Builder b("net", 1);
    const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 6, 6});
    b.Output(b.Op("ReduceMean", {x}, {{"axes", std::vector<int64_t>{-1, 2}}, {"keepdims", keep}}, "mean"), "y");
    const Graph graph = *b.Finish();
    QuantPlan plan;
    plan.activations = {{"x", Codes(0.02f)}, {"y", Codes(0.01f)}};
    QdqReport report;
    const Graph out = Insert(graph, plan, &report);
    EXPECT_EQ(Why(report, "mean"), "integer");
    EXPECT_THAT(Ops(out), IsSupersetOf({"GlobalAveragePool"}));
    EXPECT_EQ(*out.value(out.outputs()[0]).shape, *graph.value(graph.outputs()[0]).shape);
    EXPECT_EQ(out.value(out.outputs()[0]).name, "y");
  }
  // Over other axes it stays what it is.
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {2, 3, 6, 6});
  b.Output(b.Op("ReduceMean", {x}, {{"axes", std::vector<int64_t>{1, 2}}}, "mean"), "y");
  QdqReport report;
  Insert(*b.Finish(), {.activations = {{"x", Codes(0.02f)}, {"y", Codes(0.01f)}}}, &report);
  EXPECT_THAT(Why(report, "mean"), HasSubstr("ReduceMean"));
}

TEST(QdqTest, DropoutGoesAndItsPlanStays) {
  Builder b("net", 1);
  ValueId x = b.Input("x", DType::kFloat32, {1, 8});
  x = b.Dropout(b.Op("Tanh", {x}, {}, "t"), 0.5);
  b.Output(b.Linear(x, "fc", 5), "y");
  QuantPlan plan;
  plan.activations = {{"Dropout_0.out", Codes(0.01f, 128)}};
  plan.weights = {{"fc.weight", Weight(5)}};
  QdqReport report;
  const Graph out = Insert(*b.Finish(), plan, &report);
  EXPECT_EQ(Why(report, "fc"), "integer");
  EXPECT_THAT(Chain(out, Maker(out, "y").inputs[0] == kNoValue ? "" : out.value(Maker(out, "y").inputs[0]).name),
              ElementsAre("DequantizeLinear", "QuantizeLinear", "Tanh"));
}

TEST(QdqTest, CodesOfFewerBitsAreClippedAsIntegers) {
  QdqReport report;
  const Graph out = Insert(ConvThen("Relu"), PlanFor(Codes(0.1f, 0, {4, false, false}), Codes(0.3f, 0, {4, false, false})), &report);
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "Clip", "QuantizeLinear", "Conv", "DequantizeLinear", "Clip", "QuantizeLinear"));
  const Node& clip = Maker(out, Maker(out, "y").inputs[0]);
  EXPECT_EQ(out.Constant(clip.inputs[2])->dtype(), DType::kUInt8);
  EXPECT_EQ(*IntValues(*out.Constant(clip.inputs[2])), std::vector<int32_t>{15});
  EXPECT_EQ(Why(report, "c"), "integer");
}

TEST(QdqTest, WhatThePlanLeavesOutStaysFloatAndSaysWhy) {
  const Graph graph = ConvThen("Relu");
  const auto why = [&](auto change) {
    QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
    change(plan);
    QdqReport report;
    Insert(graph, plan, &report);
    return Why(report, "c");
  };
  EXPECT_THAT(why([](QuantPlan& p) { p.activations.erase("x"); }), HasSubstr("input 'x'"));
  EXPECT_THAT(why([](QuantPlan& p) { p.activations.erase("y"); }), HasSubstr("is not quantised"));
  EXPECT_THAT(why([](QuantPlan& p) { p.weights.clear(); }), HasSubstr("'c.weight' is not quantised"));
  EXPECT_EQ(why([](QuantPlan& p) { p.left_in_float["c"] = "too sensitive"; }), "too sensitive");
  EXPECT_THAT(why([](QuantPlan& p) { p.weights["c.weight"] = Weight(3, 8, 0.1f, 1); }), HasSubstr("along axis 1"));
  EXPECT_THAT(why([](QuantPlan& p) { p.activations["x"] = Codes(0.1f, 0, {8, true, false}); }), HasSubstr("different types"));
}

TEST(QdqTest, ANodeLeftInFloatKeepsItsFloatWeight) {
  QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
  plan.left_in_float["c"] = "because";
  const Graph out = Insert(ConvThen("Relu"), plan);
  EXPECT_TRUE(out.IsInitializer(Maker(out, Maker(out, Maker(out, "y").inputs[0]).inputs[0]).inputs[1]));
  // The Clip has no bounds: it only keeps ONNX Runtime from quantising the weight after all.
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Conv", "Clip", "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Maker(out, "c.in_float").inputs.size(), 1u);
}

TEST(QdqTest, AnEmptyPlanChangesNothing) {
  const Graph graph = ConvThen("Relu");
  QdqReport report;
  EXPECT_EQ(Ops(Insert(graph, {}, &report)), Ops(graph));
  for (const NodeFate& fate : report.nodes) EXPECT_FALSE(fate.quantised) << fate.node;
}

TEST(QdqTest, AnAddWantsBothOperandsAndItsResult) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4});
  const ValueId z = b.Input("z", DType::kFloat32, {1, 4});
  b.Output(b.Op("Add", {x, z}, {}, "sum"), "y");
  const Graph graph = *b.Finish();
  QdqReport report;
  Insert(graph, {.activations = {{"x", Codes(1)}, {"z", Codes(1)}, {"y", Codes(1)}}}, &report);
  EXPECT_EQ(Why(report, "sum"), "integer");
  Insert(graph, {.activations = {{"x", Codes(1)}, {"y", Codes(1)}}}, &report);
  EXPECT_THAT(Why(report, "sum"), HasSubstr("'z'"));
  Insert(graph, {.activations = {{"x", Codes(1)}, {"z", Codes(1)}}}, &report);
  EXPECT_THAT(Why(report, "sum"), HasSubstr("'y'"));
}

TEST(QdqTest, AnOutputThatOthersReadIsWhatWasDequantised) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4});
  const ValueId t = b.Op("Tanh", {x}, {}, "t");
  b.Output(t, "middle");
  b.Output(b.Op("Exp", {t}, {}, "e"), "y");
  const Graph out = Insert(*b.Finish(), {.activations = {{"middle", Codes(0.01f, 128)}}});
  EXPECT_EQ(Maker(out, "middle").op, "DequantizeLinear");
  EXPECT_EQ(Maker(out, "y").inputs[0], out.FindValue("middle"));
}

TEST(QdqTest, NamesThatAreTakenAreLeftAlone) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4});
  const ValueId t = b.Op("Tanh", {x}, {}, "x.dequantized");
  b.Output(b.Op("Exp", {t}, {}, "x.dequantized.out.dequantize"), "x.codes");
  const Graph out = Insert(*b.Finish(), {.activations = {{"x", Codes(1)}, {"x.codes", Codes(1)}, {"x.dequantized.out", Codes(1)}}});
  EXPECT_TRUE(out.Validate().ok()) << out.Validate();
  EXPECT_EQ(out.value(out.outputs()[0]).name, "x.codes");
}

// One clear error each, naming what is wrong.
TEST(QdqTest, PlansThatDoNotFitAreRefused) {
  const Graph graph = ConvThen("Relu");
  const auto refusal = [&graph](auto change) {
    QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
    change(plan);
    const absl::Status status = InsertQdq(graph, plan).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  const float nan = std::nanf("");
  EXPECT_THAT(refusal([](auto& p) { p.activations["nobody"] = Codes(1); }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["nobody"] = Weight(4); }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.left_in_float["nobody"] = "x"; }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["c.weight"] = Codes(1); }), HasSubstr("constant"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["x"] = Weight(4); }), HasSubstr("'x'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.bias"] = Weight(4); }), HasSubstr("'c.bias'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"] = Weight(5); }), HasSubstr("5 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].zero_points.pop_back(); }), HasSubstr("3 zero points"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].axis = 4; }), HasSubstr("axis 4"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].type.bits = 1; }), HasSubstr("bits is 1"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].type.bits = 9; }), HasSubstr("bits is 9"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(0); }), HasSubstr("positive"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(-1); }), HasSubstr("'x'"));
  EXPECT_THAT(refusal([nan](auto& p) { p.activations["x"] = Codes(nan); }), HasSubstr("finite"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].scales[2] = kInfinity; }), HasSubstr("scale 2"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(1, 256); }), HasSubstr("zero point"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].scales.clear(); }), HasSubstr("0 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].scales = {1, 1}; }), HasSubstr("2 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].axis = 1; }), HasSubstr("axis 1"));
}

TEST(QdqTest, ABiasThatIsNotFiniteIsRefused) {
  for (const float bad : {kInfinity, std::nanf("")}) {
    Graph graph = ConvThen("Relu");
    graph.mutable_initializers().at(graph.FindValue("c.bias")).data = Tensor::From<float>({4}, {0, bad, 0, 0});
    const absl::Status status = InsertQdq(graph, PlanFor(Codes(0.02f), Codes(0.03f))).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("c.bias"));
  }
  // Finite, but no weight scale makes room for it.
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data = Tensor::From<float>({4}, {0, 1e38f, 0, 0});
  EXPECT_THAT(std::string(InsertQdq(graph, PlanFor(Codes(1e-37f), Codes(0.03f))).status().message()), HasSubstr("too large"));
}

TEST(QdqTest, AValueOfIntegersIsRefused) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kInt64, {1, 4});
  b.Output(b.Op("Cast", {x}, {{"to", int64_t{1}}}), "y");
  const Graph graph = *b.Finish();
  EXPECT_THAT(std::string(InsertQdq(graph, {.activations = {{"x", Codes(1)}}}).status().message()), HasSubstr("int64"));
}

}  // namespace
}  // namespace ds
