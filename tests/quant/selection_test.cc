#include "quant/selection.h"

#include <set>
#include <string>

#include "graph/builder.h"
#include "graph/passes/passes.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

Graph Folded(const std::string& model) {
  auto graph = BuildModel(model, {.channels = 3, .height = 32, .width = 32});
  EXPECT_TRUE(graph.ok()) << graph.status();
  EXPECT_TRUE(FoldBatchNorms(*graph).ok());
  EXPECT_TRUE(InferShapes(*graph).ok());
  return *std::move(graph);
}

std::set<std::string> OpsThatMake(const Graph& graph, const QuantSelection& selection) {
  std::set<std::string> ops;
  for (const ActivationSite& site : selection.activations) {
    const int maker = graph.Producer(site.value);
    ops.insert(maker < 0 ? "input" : graph.nodes()[static_cast<size_t>(maker)].op);
  }
  return ops;
}

TEST(Selection, AResNetIsRoundedAfterItsClampsAndAtItsShortcuts) {
  const Graph graph = Folded("resnet20");
  const QuantSelection selection = SelectForQuantization(graph);
  // 19 convolutions of 3x3, 2 of 1x1 in shortcuts, the classifier.
  EXPECT_EQ(selection.weights.size(), 22u);
  EXPECT_EQ(selection.multipliers.size(), 22u);
  EXPECT_EQ(graph.nodes()[static_cast<size_t>(selection.multipliers.front())].inputs[0],
            graph.inputs()[0]);
  EXPECT_EQ(graph.nodes()[static_cast<size_t>(selection.multipliers.back())].op, "Gemm");
  // Convolutions without a clamp (before an addition), clamps, the pool and the input; neither
  // additions, which are clamped, nor logits.
  EXPECT_EQ(OpsThatMake(graph, selection),
            (std::set<std::string>{"input", "Conv", "Relu", "GlobalAveragePool"}));
  // 1 input, 1 + 2 * 9 clamps, 9 second convolutions, 2 shortcuts, 1 pool.
  EXPECT_EQ(selection.activations.size(), 32u);
  for (const WeightSite& site : selection.weights) EXPECT_EQ(site.channel_axis, 0);
  // The second convolutions' and the shortcuts' results go into sums alone; a block's input goes
  // into a convolution too.
  int added = 0;
  for (const ActivationSite& site : selection.activations) {
    if (!OnlyAdded(graph, site)) continue;
    ++added;
    EXPECT_EQ(graph.nodes()[static_cast<size_t>(graph.Producer(site.value))].op, "Conv");
  }
  EXPECT_EQ(added, 9 + 2);
}

TEST(Selection, AConvolutionThatSomethingElseReadsIsRoundedBeforeItsClampToo) {
  Builder b("two readers", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const ValueId conv = b.Conv(x, "conv", {.channels = 4});
  const ValueId clamped = b.Relu(conv);
  b.Output(b.Conv(b.Add(conv, clamped), "last", {.channels = 4}), "y");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const QuantSelection selection = SelectForQuantization(*graph);
  std::set<ValueId> values;
  for (const ActivationSite& site : selection.activations) values.insert(site.value);
  EXPECT_TRUE(values.contains(conv));
  EXPECT_TRUE(values.contains(clamped));
}

TEST(Selection, ASumThatNothingReadsAsIntegersStaysFloat) {
  Builder b("sum", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const ValueId conv = b.Conv(x, "conv", {.channels = 4});
  b.Output(b.Add(conv, b.Relu(conv)), "y");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  std::set<ValueId> values;
  for (const ActivationSite& site : SelectForQuantization(*graph).activations) {
    values.insert(site.value);
  }
  EXPECT_EQ(values, (std::set<ValueId>{x, conv}));
}

TEST(Selection, WhatOnlyMovesNumbersSharesTheirIntegers) {
  Builder b("moves", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const ValueId pooled = b.MaxPool(b.Relu(b.Conv(x, "conv", {.channels = 4})), {});
  const ValueId flat = b.Flatten(pooled);
  b.Output(b.Linear(flat, "head", 5), "y");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const QuantSelection selection = SelectForQuantization(*graph);
  ASSERT_EQ(selection.activations.size(), 2u);
  const ActivationSite& clamped = selection.activations[1];
  // The classifier reads it through the pool and the reshaping.
  ASSERT_EQ(clamped.readers.size(), 1u);
  EXPECT_EQ(graph->nodes()[static_cast<size_t>(clamped.readers[0])].op, "Gemm");
  ASSERT_EQ(selection.shared.size(), 2u);
  EXPECT_EQ(selection.shared[0].value, pooled);
  EXPECT_EQ(selection.shared[0].source, clamped.value);
  EXPECT_EQ(selection.shared[1].value, flat);
  EXPECT_EQ(selection.shared[1].source, pooled);
}

TEST(Selection, ChannelsOfMatricesRunAlongTheirOutputs) {
  Builder b("tokens", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 6, 8});
  const ValueId hidden = b.TokenLinear(x, "up", 12);
  b.Output(b.TokenLinear(b.Relu(hidden), "down", 8), "y");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const QuantSelection selection = SelectForQuantization(*graph);
  ASSERT_EQ(selection.weights.size(), 2u);
  for (const WeightSite& site : selection.weights) EXPECT_EQ(site.channel_axis, 1);  // [in, out]
}

TEST(Selection, ANetworkWithoutConstantWeightsHasNone) {
  Builder b("attention scores", 1);
  const ValueId q = b.Input("q", DType::kFloat32, {kDynamicDim, 4, 8});
  const ValueId k = b.Input("k", DType::kFloat32, {kDynamicDim, 8, 4});
  b.Output(b.Op("MatMul", {q, k}), "scores");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const QuantSelection selection = SelectForQuantization(*graph);
  EXPECT_TRUE(selection.weights.empty());
  ASSERT_EQ(selection.activations.size(), 2u);  // its operands; its result is the graph's
}

}  // namespace
}  // namespace ds
