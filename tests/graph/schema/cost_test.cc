// Multiply-accumulates and bytes of operators, against numbers worked out by hand.
#include "graph/cost.h"

#include <gtest/gtest.h>

#include "graph/builder.h"
#include "graph/describe.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

constexpr int64_t kAny = kDynamicDim;
constexpr int64_t kF = 4;  // bytes of a float

struct Case {
  std::string op;
  std::vector<Shape> inputs;
  int64_t macs = 0;
  int64_t bytes = 0;
  Attributes attributes = {};
  int index_input = -1;            // operand that is int64
  std::vector<float> scales = {};  // a constant as third operand (Resize), after an empty second
  int outputs = 1;
};

NodeCost Cost(const Case& c) {
  Graph graph;
  Node node{.name = "node", .op = c.op, .attributes = c.attributes};
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const bool index = static_cast<int>(i) == c.index_input;
    node.inputs.push_back(graph.AddInput("x" + std::to_string(i),
                                         index ? DType::kInt64 : DType::kFloat32, c.inputs[i]));
  }
  if (!c.scales.empty()) {
    node.inputs.push_back(kNoValue);
    node.inputs.push_back(graph.AddInitializer(
        "scales", Tensor::From({static_cast<int64_t>(c.scales.size())}, c.scales),
        /*trainable=*/false));
  }
  for (int i = 0; i < c.outputs; ++i) {
    node.outputs.push_back(graph.AddValue("y" + std::to_string(i)));
    graph.MarkOutput(node.outputs.back());
  }
  graph.AddNode(node);
  const absl::Status inferred = InferShapes(graph);
  EXPECT_TRUE(inferred.ok()) << inferred;
  return CostOf(graph, graph.nodes()[0]);
}

class OperatorCost : public testing::TestWithParam<Case> {};

TEST_P(OperatorCost, IsWhatAPencilSays) {
  const NodeCost cost = Cost(GetParam());
  EXPECT_EQ(cost.macs, GetParam().macs);
  EXPECT_EQ(cost.bytes, GetParam().bytes);
}

Attributes Text(const std::string& name, const std::string& value) { return {{name, value}}; }

std::vector<Case> Products() {
  return {
      // 8 x 4 x 4 results of 2 channels (4 in 2 groups) under a 3 x 3 kernel.
      {"Conv",
       {{kAny, 4, 6, 6}, {8, 2, 3, 3}},
       8 * 16 * 2 * 9,
       kF * (4 * 36 + 8 * 2 * 9 + 8 * 16),
       {{"group", int64_t{2}}}},
      // Each of 4 x 5 x 6 elements meets 3 filters of 2 x 2; stride 1 makes 6 x 7 of 5 x 6.
      {"ConvTranspose", {{kAny, 4, 5, 6}, {4, 3, 2, 2}}, 4 * 30 * 12, kF * (4 * 30 + 48 + 3 * 42)},
      {"Gemm", {{7, 3}, {7, 5}}, 3 * 7 * 5, kF * (21 + 35 + 15), {{"transA", int64_t{1}}}},
      {"MatMul", {{kAny, 2, 3, 4}, {4, 5}}, 2 * 3 * 4 * 5, kF * (24 + 20 + 30)},
      // 2 heads of 3 queries and 4 keys, 5 wide.
      {"Einsum",
       {{kAny, 2, 3, 5}, {kAny, 2, 4, 5}},
       2 * 3 * 4 * 5,
       kF * (30 + 40 + 24),
       Text("equation", "bhqd,bhkd->bhqk")},
      {"Einsum",
       {{6, 3, 4}, {4, 5}},
       6 * 3 * 4 * 5,
       kF * (72 + 20 + 90),
       Text("equation", "...ij,jk->...ik")},
      // A trace along j has no products.
      {"Einsum", {{3, 4}}, 0, kF * (12 + 3), Text("equation", "ij->i")},
      // 7 steps, 4 gates of 6 over 4 inputs and 6 states; 7 x 6 results.
      {"LSTM", {{7, kAny, 4}, {1, 24, 4}, {1, 24, 6}}, 7 * (96 + 144), kF * (28 + 96 + 144 + 42)},
      {"GRU", {{7, kAny, 4}, {1, 18, 4}, {1, 18, 6}}, 7 * (72 + 108), kF * (28 + 72 + 108 + 42)},
      {"RoiAlign",
       {{1, 2, 8, 8}, {5, 4}, {5}},
       5 * 2 * 3 * 3 * 4 * 4,
       kF * (128 + 20 + 90) + 5 * 8,
       {{"output_height", int64_t{3}},
        {"output_width", int64_t{3}},
        {"sampling_ratio", int64_t{2}}},
       2},
      {"GridSample", {{1, 3, 5, 5}, {1, 2, 4, 2}}, 3 * 8 * 4, kF * (75 + 16 + 24)},
  };
}

std::vector<Case> Resized() {
  const Shape picture = {kAny, 3, 4, 5};
  const std::vector<float> twice = {1, 1, 2, 2};
  const int64_t bytes = kF * (60 + 4 + 240);
  return {
      {"Resize", {picture}, 0, bytes, Text("mode", "nearest"), -1, twice},
      {"Resize", {picture}, 240 * 4, bytes, Text("mode", "linear"), -1, twice},
      {"Resize", {picture}, 240 * 16, bytes, Text("mode", "cubic"), -1, twice},
      {"Resize", {picture}, 120 * 2, kF * (60 + 4 + 120), Text("mode", "linear"), -1, {1, 1, 1, 2}},
  };
}

std::vector<Case> Passes() {
  return {
      {"Relu", {{kAny, 3, 4}}, 0, kF * 24},
      {"PRelu", {{kAny, 3, 4}, {3, 1}}, 0, kF * (12 + 3 + 12)},
      {"InstanceNormalization", {{kAny, 3, 4, 4}, {3}, {3}}, 0, kF * (48 + 3 + 3 + 48)},
      {"GroupNormalization",
       {{kAny, 4, 4, 4}, {4}, {4}},
       0,
       kF * (64 + 4 + 4 + 64),
       {{"num_groups", int64_t{2}}}},
      {"LayerNormalization", {{kAny, 5, 6}, {6}}, 0, kF * (30 + 6 + 30)},
      {"MaxPool",
       {{kAny, 2, 6, 6}},
       0,
       kF * (72 + 18),
       {{"kernel_shape", std::vector<int64_t>{2, 2}}, {"strides", std::vector<int64_t>{2, 2}}}},
      {"ReduceMean", {{kAny, 3, 4}}, 0, kF * (12 + 1)},
      {"ArgMax", {{2, 5}}, 0, kF * 10 + 2 * 8, {{"axis", int64_t{1}}}},
      {"CumSum", {{2, 5}, {}}, 0, kF * 20 + 8, {}, 1},
      {"ScatterND", {{9, 4}, {2, 1}, {2, 4}}, 0, kF * (36 + 8 + 36) + 2 * 8, {}, 1},
      {"ScatterElements", {{3, 4}, {2, 4}, {2, 4}}, 0, kF * (12 + 8 + 12) + 8 * 8, {}, 1},
      // Of a table of 50,000 rows three are read.
      {"Gather", {{50'000, 8}, {3}}, 0, kF * 2 * 24 + 3 * 8, {}, 1},
      {"GatherND", {{50'000, 8}, {3, 1}}, 0, kF * 2 * 24 + 3 * 8, {}, 1},
      {"GatherElements", {{50'000, 8}, {3, 8}}, 0, kF * 2 * 24 + 24 * 8, {}, 1},
      {"Transpose", {{2, 3, 4}}, 0, kF * 48},
      {"Concat", {{2, 3}, {2, 5}}, 0, kF * 32, {{"axis", int64_t{1}}}},
      {"Flatten", {{kAny, 3, 4}}, 0, 0},
      {"Identity", {{kAny, 3, 4}}, 0, 0},
      {"Shape", {{kAny, 3, 4}}, 0, 0},
  };
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  return info.param.op + std::to_string(info.index);
}

INSTANTIATE_TEST_SUITE_P(Products, OperatorCost, testing::ValuesIn(Products()), CaseName);
INSTANTIATE_TEST_SUITE_P(Resized, OperatorCost, testing::ValuesIn(Resized()), CaseName);
INSTANTIATE_TEST_SUITE_P(Passes, OperatorCost, testing::ValuesIn(Passes()), CaseName);

TEST(CostTest, EveryOperatorOfTheTableHasOne) {
  for (const std::string& op : SupportedOps()) {
    EXPECT_TRUE(HasCost(op)) << op << ": add a row to graph/cost.cc";
  }
  EXPECT_FALSE(HasCost("NoSuchOperator"));
}

TEST(CostTest, WeightsOfFewBitsAreFewBytes) {
  Builder b("packed");
  const ValueId x = b.Input("x", DType::kInt4, {5});
  b.Output(b.Op("DequantizeLinear", {x, b.Constant("scale", Tensor::Scalar(0.5f))}), "y");
  const Graph graph = b.Finish().value();
  EXPECT_EQ(CostOf(graph, graph.nodes().back()).bytes, 3 + kF + 5 * kF);
}

TEST(CostTest, WhatDoesNotFitIsTheLargestNumber) {
  const int64_t huge = int64_t{1} << 31;
  const NodeCost product = Cost({"MatMul", {{huge, huge}, {huge, huge}}});
  EXPECT_EQ(product.macs, INT64_MAX);
}

TEST(CostTest, TheTableForPeopleShowsBoth) {
  Builder b("small");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  b.Output(b.Op("Relu", {b.Linear(x, "fc", 5)}), "y");
  const std::string text = Describe(b.Finish().value());
  // Gemm: 3 in, 15 weights, 5 biases, 5 out; Relu: 5 and 5.
  EXPECT_NE(text.find("20    15    112\n"), std::string::npos) << text;
  EXPECT_NE(text.find("15    152\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace ds
