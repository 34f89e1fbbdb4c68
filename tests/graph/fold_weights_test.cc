#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "graph/builder.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::ElementsAre;

Tensor Numbers(Shape shape) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  auto values = tensor.mutable_span<float>();
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i) * 0.25F - 1.5F + static_cast<float>(i * i % 7);
  return tensor;
}

std::vector<float> Floats(const Graph& graph, const std::string& name) {
  const auto values = graph.Constant(graph.FindValue(name))->span<float>();
  return {values.begin(), values.end()};
}

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

// y = MatMul(x, op(w)) for a weight that op brings to [4, 3].
Graph Behind(const std::vector<std::pair<std::string, Attributes>>& chain, Tensor weight,
             const Shape& reshape = {}) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 4});
  ValueId w = graph.AddInitializer("fc.weight", std::move(weight), true);
  for (const auto& [op, attributes] : chain) {
    std::vector<ValueId> inputs = {w};
    if (op == "Reshape") {
      inputs.push_back(graph.AddInitializer(
          "to", Tensor::From<int64_t>({static_cast<int64_t>(reshape.size())}, reshape), false));
    }
    w = graph.AddValue(op + "_out");
    graph.AddNode(
        {.name = op, .op = op, .inputs = inputs, .outputs = {w}, .attributes = attributes});
  }
  const ValueId y = graph.AddValue("y");
  graph.AddNode({.name = "mm", .op = "MatMul", .inputs = {x, w}, .outputs = {y}});
  graph.MarkOutput(y);
  return graph;
}

TEST(FoldLayoutsTest, AWeightBehindTransposeAndReshapeIsThatWeight) {
  const Tensor stored = Numbers({3, 4, 1});
  Graph graph = Behind({{"Transpose", {{"perm", std::vector<int64_t>{1, 0, 2}}}}, {"Reshape", {}}},
                       stored, {4, 3});
  ASSERT_TRUE(FoldLayouts(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("MatMul"));
  const ValueId weight = graph.nodes()[0].inputs[1];
  EXPECT_EQ(graph.value(weight).name, "fc.weight");
  EXPECT_TRUE(graph.initializers().at(weight).trainable);
  EXPECT_EQ(graph.Constant(weight)->shape(), (Shape{4, 3}));
  const auto from = stored.span<float>(), to = graph.Constant(weight)->span<float>();
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 3; ++j) EXPECT_EQ(to[i * 3 + j], from[j * 4 + i]);
  }
  EXPECT_EQ(graph.initializers().size(), 1u);
  EXPECT_TRUE(InferShapes(graph).ok());
}

TEST(FoldLayoutsTest, MatricesLargerThanATileAreTransposedWhole) {
  const Tensor stored = Numbers({33, 67});
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {1, 67});
  const ValueId w = graph.AddInitializer("w", stored, true);
  const ValueId t = graph.AddValue("t"), y = graph.AddValue("y");
  graph.AddNode({.name = "t", .op = "Transpose", .inputs = {w}, .outputs = {t}});
  graph.AddNode({.name = "mm", .op = "MatMul", .inputs = {x, t}, .outputs = {y}});
  graph.MarkOutput(y);
  ASSERT_TRUE(FoldLayouts(graph).ok());
  const std::vector<float> to = Floats(graph, "w");
  for (size_t i = 0; i < 33; ++i) {
    for (size_t j = 0; j < 67; ++j)
      ASSERT_EQ(to[j * 33 + i], stored.span<float>()[i * 67 + j]) << i << " " << j;
  }
}

TEST(FoldLayoutsTest, AWeightReadInTwoLayoutsStaysOne) {
  Graph graph;
  const ValueId tokens = graph.AddInput("tokens", DType::kInt64, {kDynamicDim, 5});
  const ValueId w = graph.AddInitializer("table", Numbers({6, 4}), true);
  const ValueId rows = graph.AddValue("rows"), t = graph.AddValue("t"), y = graph.AddValue("y");
  graph.AddNode({.name = "rows", .op = "Gather", .inputs = {w, tokens}, .outputs = {rows}});
  graph.AddNode({.name = "t", .op = "Transpose", .inputs = {w}, .outputs = {t}});
  graph.AddNode({.name = "y", .op = "MatMul", .inputs = {rows, t}, .outputs = {y}});
  graph.MarkOutput(y);
  ASSERT_TRUE(FoldLayouts(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Gather", "Transpose", "MatMul"));
  EXPECT_EQ(graph.ParameterCount(), 24);
  // For quantising, each reader gets its own.
  ASSERT_TRUE(FoldWeights(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Gather", "MatMul"));
  EXPECT_EQ(graph.Constant(graph.nodes()[0].inputs[0])->shape(), (Shape{6, 4}));
  EXPECT_EQ(graph.Constant(graph.nodes()[1].inputs[1])->shape(), (Shape{4, 6}));
}

TEST(FoldLayoutsTest, ALayerThatIsUsedTwiceKeepsOneWeight) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId w = graph.AddInitializer("w", Numbers({4, 4}), true);
  ValueId value = x;
  for (const char* name : {"a", "b"}) {
    const ValueId t = graph.AddValue(std::string(name) + "t"), y = graph.AddValue(name);
    graph.AddNode({.name = graph.value(t).name, .op = "Transpose", .inputs = {w}, .outputs = {t}});
    graph.AddNode({.name = name, .op = "MatMul", .inputs = {value, t}, .outputs = {y}});
    value = y;
  }
  graph.MarkOutput(value);
  ASSERT_TRUE(FoldLayouts(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("MatMul", "MatMul"));
  EXPECT_EQ(graph.nodes()[0].inputs[1], graph.nodes()[1].inputs[1]);
  EXPECT_EQ(graph.ParameterCount(), 16);
}

TEST(FoldLayoutsTest, TranspositionsThatDifferStayApartThoughTheirShapesAreEqual) {
  Graph graph;
  const ValueId x = graph.AddInput("x", DType::kFloat32, {kDynamicDim, 2, 2});
  const ValueId w = graph.AddInitializer("w", Numbers({2, 2, 2}), true);
  for (const std::vector<int64_t>& perm : {std::vector<int64_t>{1, 0, 2}, {0, 2, 1}}) {
    const ValueId t = graph.AddValue("t"), y = graph.AddValue("y");
    graph.AddNode({.name = graph.value(t).name,
                   .op = "Transpose",
                   .inputs = {w},
                   .outputs = {t},
                   .attributes = {{"perm", perm}}});
    graph.AddNode({.name = graph.value(y).name, .op = "Mul", .inputs = {x, t}, .outputs = {y}});
    graph.MarkOutput(y);
  }
  ASSERT_TRUE(FoldLayouts(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Transpose", "Mul", "Transpose", "Mul"));
}

// Weight standardisation and a gain, in nodes.
Graph Standardised() {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 2, 5, 5});
  const ValueId w = b.Parameter("conv.weight", Numbers({3, 2, 3, 3}));
  const ValueId gain = b.Parameter("conv.gain", Numbers({3, 1, 1, 1}));
  const Attributes rows = {{"axes", std::vector<int64_t>{1, 2, 3}}, {"keepdims", int64_t{1}}};
  const ValueId centred = b.Op("Sub", {w, b.Op("ReduceMean", {w}, rows)});
  const ValueId variance = b.Op("ReduceMean", {b.Op("Mul", {centred, centred})}, rows);
  const ValueId unit = b.Op("Div", {centred, b.Op("Sqrt", {variance})});
  b.Output(b.Op("Conv", {x, b.Op("Mul", {unit, gain})}), "y");
  return b.Finish().value();
}

TEST(FoldWeightsTest, StandardisedWeightsAreComputedForQuantising) {
  Graph graph = Standardised();
  const std::vector<float> w = Floats(graph, "conv.weight"), gain = Floats(graph, "conv.gain");
  Graph training = graph;
  ASSERT_TRUE(FoldLayouts(training).ok());
  EXPECT_EQ(training.nodes().size(), graph.nodes().size());
  ASSERT_TRUE(FoldWeights(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Conv"));
  const ValueId weight = graph.nodes()[0].inputs[1];
  EXPECT_TRUE(graph.initializers().at(weight).trainable);
  const auto folded = graph.Constant(weight)->span<float>();
  ASSERT_EQ(folded.size(), w.size());
  for (size_t row = 0; row < 3; ++row) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < 18; ++i) mean += w[row * 18 + i] / 18.0;
    for (size_t i = 0; i < 18; ++i) square += std::pow(w[row * 18 + i] - mean, 2) / 18;
    for (size_t i = 0; i < 18; ++i) {
      const double wanted = gain[row] * (w[row * 18 + i] - mean) / std::sqrt(square);
      EXPECT_NEAR(folded[row * 18 + i], wanted, 1e-6 * (1 + std::abs(wanted)));
    }
  }
}

// y = MatMul(x, weight) with what `make` computes of initialisers alone; the folded weight.
std::vector<float> Folded(const std::function<ValueId(Builder&)>& make) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3});
  b.Output(b.Op("MatMul", {x, make(b)}), "y");
  Graph graph = b.Finish().value();
  EXPECT_TRUE(FoldWeights(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("MatMul"));
  const auto values = graph.Constant(graph.nodes()[0].inputs[1])->span<float>();
  return {values.begin(), values.end()};
}

TEST(FoldWeightsTest, NormedWeightsAreWhatTheirNormsGive) {
  const Tensor v = Numbers({3, 4});
  const std::vector<float> folded = Folded([&](Builder& b) {
    const ValueId direction = b.Parameter("v", v), gain = b.Parameter("g", Numbers({4}));
    const ValueId norm = b.Op("ReduceL2", {direction},
                              {{"axes", std::vector<int64_t>{0}}, {"keepdims", int64_t{1}}});
    return b.Op("Mul", {b.Op("Div", {direction, norm}), gain});
  });
  const auto from = v.span<float>();
  const Tensor gains = Numbers({4});
  ASSERT_EQ(folded.size(), 12u);
  for (size_t j = 0; j < 4; ++j) {
    double square = 0;
    for (size_t i = 0; i < 3; ++i) square += from[i * 4 + j] * from[i * 4 + j];
    for (size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(folded[i * 4 + j], gains.span<float>()[j] * from[i * 4 + j] / std::sqrt(square),
                  1e-6);
  }
}

TEST(FoldWeightsTest, ABatchNormalisedWeightHasItsEpsilon) {
  const Tensor w = Numbers({3, 2});
  const std::vector<float> folded = Folded([&](Builder& b) {
    std::vector<ValueId> inputs = {b.Parameter("w", w)};
    for (const char* name : {"scale", "shift", "mean", "variance"}) {
      const bool variance = std::string(name) == "variance";
      inputs.push_back(
          b.Constant(name, Tensor::From<float>({2}, variance ? std::vector<float>{0.25F, 4}
                                                             : std::vector<float>{2, 3})));
    }
    return b.Op("BatchNormalization", inputs, {{"epsilon", 0.75F}});
  });
  ASSERT_EQ(folded.size(), 6u);
  for (size_t i = 0; i < 6; ++i) {
    const double own = i % 2 == 0 ? 2 : 3, variance = i % 2 == 0 ? 0.25 : 4;
    EXPECT_NEAR(folded[i], (w.span<float>()[i] - own) / std::sqrt(variance + 0.75) * own + own,
                1e-6);
  }
}

TEST(FoldWeightsTest, AWeightOfTwoFactorsIsTheirProduct) {
  const Tensor down = Numbers({3, 2}), up = Numbers({2, 5});
  const std::vector<float> folded = Folded([&](Builder& b) {
    return b.Op("MatMul", {b.Parameter("down", down), b.Parameter("up", up)});
  });
  ASSERT_EQ(folded.size(), 15u);
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 5; ++j) {
      EXPECT_NEAR(folded[i * 5 + j],
                  down.span<float>()[i * 2] * up.span<float>()[j] +
                      down.span<float>()[i * 2 + 1] * up.span<float>()[5 + j],
                  1e-6);
    }
  }
}

TEST(FoldWeightsTest, OtherReductionsAreLeftToTheRuntime) {
  for (const char* op :
       {"ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceLogSum", "ReduceLogSumExp"}) {
    Builder b("g");
    const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3});
    const ValueId scale = b.Op(op, {b.Parameter("w", Numbers({3, 4}))},
                               {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
    b.Output(b.Op("Mul", {x, scale}), "y");
    Graph graph = b.Finish().value();
    ASSERT_TRUE(FoldWeights(graph).ok());
    EXPECT_THAT(Ops(graph), ElementsAre(op, "Mul"));
  }
}

TEST(FoldWeightsTest, WhatDependsOnAnInputStays) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3});
  b.Output(b.Op("Mul", {x, b.Parameter("scale", Numbers({3}))}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldWeights(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Mul"));
}

}  // namespace
}  // namespace ds
