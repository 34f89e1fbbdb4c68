#include "base/tensor/int_tensor.h"
#include "deploy/insert_qdq.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/qdq_testing.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

TEST(QdqTest, AReluIsLeftToTheSaturationOfUnsignedCodes) {
  const Graph graph = ConvThen("Relu");
  QuantPlan plan = PlanFor(Codes(0.02f, 128), Codes(0.03f));
  plan.activations["c.out"] = Codes(0.05f, 100);  // must not split the pair
  QdqReport report;
  const Graph out = Insert(graph, plan, &report);
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Conv",
                                           "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Why(report, "c"), "integer");
  EXPECT_EQ(Why(report, "act"), "integer");
}

TEST(QdqTest, AReluBeforeOtherCodesStaysAndItsConvolutionStaysInFloat) {
  for (const QuantParams& codes : {Codes(0.03f, 3), Codes(0.03f, 0, {8, true, false})}) {
    QdqReport report;
    const Graph out = Insert(ConvThen("Relu"), PlanFor(Codes(0.02f), codes), &report);
    EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Relu", "Conv",
                                             "DequantizeLinear", "QuantizeLinear"));
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
  EXPECT_FALSE(has_clip(5.0f / 255));    // codes end at 5
  EXPECT_TRUE(has_clip(6.1f / 255));     // 6 is code 250.8
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
  EXPECT_THAT(Chain(out, "act.out"),
              ElementsAre("DequantizeLinear", "QuantizeLinear", "DequantizeLinear",
                          "QuantizeLinear", "Conv", "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Why(report, "c"), "integer");
  EXPECT_EQ(Why(report, "sum"), "integer");
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
              ElementsAre("DequantizeLinear", "QuantizeLinear", "Flatten", "DequantizeLinear",
                          "QuantizeLinear", "MaxPool", "DequantizeLinear", "QuantizeLinear"));
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
    b.Output(b.Op("ReduceMean", {x}, {{"axes", std::vector<int64_t>{-1, 2}}, {"keepdims", keep}},
                  "mean"),
             "y");
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
  EXPECT_THAT(
      Chain(out,
            Maker(out, "y").inputs[0] == kNoValue ? "" : out.value(Maker(out, "y").inputs[0]).name),
      ElementsAre("DequantizeLinear", "QuantizeLinear", "Tanh"));
}

TEST(QdqTest, CodesOfFewerBitsAreClippedAsIntegers) {
  QdqReport report;
  const Graph out = Insert(
      ConvThen("Relu"),
      PlanFor(Codes(0.1f, 0, {4, false, false}), Codes(0.3f, 0, {4, false, false})), &report);
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "Clip", "QuantizeLinear", "Conv",
                                           "DequantizeLinear", "Clip", "QuantizeLinear"));
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
  EXPECT_THAT(why([](QuantPlan& p) { p.weights.clear(); }),
              HasSubstr("'c.weight' is not quantised"));
  EXPECT_EQ(why([](QuantPlan& p) { p.left_in_float["c"] = "too sensitive"; }), "too sensitive");
  EXPECT_THAT(why([](QuantPlan& p) { p.weights["c.weight"] = Weight(3, 8, 0.1f, 1); }),
              HasSubstr("along axis 1"));
  EXPECT_THAT(why([](QuantPlan& p) {
                p.activations["x"] = Codes(0.1f, 0, {8, true, false});
              }),
              HasSubstr("different types"));
}

TEST(QdqTest, ANodeLeftInFloatKeepsItsFloatWeight) {
  QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
  plan.left_in_float["c"] = "because";
  const Graph out = Insert(ConvThen("Relu"), plan);
  EXPECT_TRUE(
      out.IsInitializer(Maker(out, Maker(out, Maker(out, "y").inputs[0]).inputs[0]).inputs[1]));
  // The Clip has no bounds: it only keeps ONNX Runtime from quantising the weight after all.
  EXPECT_THAT(Chain(out, "y"), ElementsAre("DequantizeLinear", "QuantizeLinear", "Conv", "Clip",
                                           "DequantizeLinear", "QuantizeLinear"));
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
  const Graph out = Insert(
      *b.Finish(),
      {.activations = {{"x", Codes(1)}, {"x.codes", Codes(1)}, {"x.dequantized.out", Codes(1)}}});
  EXPECT_TRUE(out.Validate().ok()) << out.Validate();
  EXPECT_EQ(out.value(out.outputs()[0]).name, "x.codes");
}

}  // namespace
}  // namespace ds
