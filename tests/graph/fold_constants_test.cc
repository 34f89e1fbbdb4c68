// What is the same at every run is computed once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "graph/builder.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
constexpr int64_t kAny = kDynamicDim;

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

TEST(FoldConstantsTest, ShapeChainsBecomeInitialisers) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 6, 4});
  const ValueId shape = b.Op("Shape", {x});
  const ValueId first = b.Op("Slice", {shape, b.Ints({0}), b.Ints({1})});
  const ValueId minus = b.Op("Constant", {}, {{"value", Tensor::From<int64_t>({1}, {-1})}});
  b.Output(b.Op("Reshape", {x, b.Concat({first, minus}, 0)}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Reshape"));
  const Tensor* target = graph.Constant(graph.nodes()[0].inputs[1]);
  ASSERT_NE(target, nullptr);
  EXPECT_THAT(std::vector<int64_t>(target->span<int64_t>().begin(), target->span<int64_t>().end()),
              ElementsAre(2, -1));
  EXPECT_EQ(graph.initializers().size(), 1u);
  ASSERT_TRUE(InferShapes(graph).ok());
  EXPECT_EQ(graph.value(graph.FindValue("y")).shape, (Shape{2, 24}));
}

TEST(FoldConstantsTest, WhatDependsOnTheBatchStays) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 6});
  b.Output(b.Op("Reshape", {x, b.Op("Shape", {x})}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Shape", "Reshape"));
}

TEST(FoldConstantsTest, FloatScalarsFoldButParametersDoNot) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 16});
  const ValueId width = b.Op("Slice", {b.Op("Shape", {x}), b.Ints({1}), b.Ints({2})});
  const ValueId root = b.Op("Sqrt", {b.Op("Cast", {width}, {{"to", int64_t{1}}})});
  const ValueId learned = b.Op("Neg", {b.Parameter("p", Tensor::From<float>({1}, {3.0f}))});
  b.Output(b.Mul(b.Op("Div", {x, root}), learned), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Neg", "Div", "Mul"));
  EXPECT_EQ(graph.Constant(graph.nodes()[1].inputs[1])->span<float>()[0], 4.0f);
}

// Pads of SAME: max((ceil(7 / 2) - 1) * 2 + 3 - 7, 0), as exporters write them.
TEST(FoldConstantsTest, FloatsOnTheWayToAShapeFold) {
  Builder b("g");
  const auto number = [&](float value) { return b.Constant("", Tensor::Scalar(value)); };
  const ValueId x = b.Input("x", DType::kFloat32, {7});
  const ValueId extent = b.Op("Cast", {b.Op("Shape", {x})}, {{"to", int64_t{1}}});
  const ValueId steps = b.Op("Sub", {b.Op("Ceil", {b.Op("Div", {extent, number(2)})}), number(1)});
  const ValueId end = b.Add(b.Mul(steps, number(2)), number(3));
  const ValueId missing = b.Op("Clip", {b.Op("Sub", {end, extent}), number(0)});
  const ValueId half = b.Op("Floor", {b.Op("Div", {missing, number(2)})});
  const ValueId pads =
      b.Op("Cast", {b.Concat({half, b.Op("Sub", {missing, half})}, 0)}, {{"to", int64_t{7}}});
  b.Output(b.Op("Pad", {x, pads}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Pad"));
  ASSERT_TRUE(InferShapes(graph).ok());
  EXPECT_EQ(graph.value(graph.FindValue("y")).shape, (Shape{9}));
}

TEST(FoldConstantsTest, WhatIsRepeatedIsComputed) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 3});
  const ValueId to = b.Op("Expand", {b.Ints({3}), b.Ints({2})});
  const ValueId one = b.Op("Cast", {b.Constant("one", Tensor::Scalar(1.0f))}, {{"to", int64_t{1}}});
  const ValueId ones = b.Op("Expand", {one, to});
  const Tensor row = Tensor::From<float>({3}, {1, 2, 3});
  const ValueId rows = b.Op("Expand", {b.Constant("row", row), b.Ints({2, 3})});
  b.Output(b.Add(x, b.Op("MatMul", {b.Op("Mul", {rows, rows}), ones})), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("MatMul", "Add"));
  EXPECT_THAT(graph.Constant(graph.nodes()[0].inputs[0])->span<float>(),
              ElementsAre(1, 4, 9, 1, 4, 9));
  EXPECT_THAT(graph.Constant(graph.nodes()[0].inputs[1])->span<float>(), testing::Each(1.0f));
}

// More positions than a shape has extents.
TEST(FoldConstantsTest, PositionsOfAKnownLengthFold) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 900});
  const ValueId length =
      b.Op("Squeeze", {b.Op("Slice", {b.Op("Shape", {x}), b.Ints({1}), b.Ints({2})})});
  const ValueId zero = b.Op("Constant", {}, {{"value", Tensor::Scalar<int64_t>(0)}});
  const ValueId one = b.Op("Constant", {}, {{"value", Tensor::Scalar<int64_t>(1)}});
  b.Output(b.Op("Range", {zero, length, one}), "positions");
  const ValueId end = b.Op("Cast", {length}, {{"to", int64_t{1}}});
  b.Output(b.Op("Range", {end, b.Scalar(-0.5f), b.Scalar(-1.5f)}), "back");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre());
  EXPECT_TRUE(graph.Validate().ok()) << graph.Validate();
  const Tensor* positions = graph.Constant(graph.FindValue("positions"));
  ASSERT_NE(positions, nullptr);
  ASSERT_EQ(positions->shape(), Shape({900}));
  for (int64_t i = 0; i < 900; ++i) ASSERT_EQ(positions->span<int64_t>()[i], i);
  const Tensor* back = graph.Constant(graph.FindValue("back"));
  ASSERT_NE(back, nullptr);
  ASSERT_EQ(back->shape(), Shape({601}));
  EXPECT_EQ(back->span<float>()[1], 898.5f);
  EXPECT_EQ(back->span<float>()[600], 0.0f);
}

TEST(FoldConstantsTest, MorePositionsThanAnyTextHasStay) {
  Builder b("g");
  b.Input("x", DType::kFloat32, {kAny, 4});
  b.Output(b.Op("Range", {b.Scalar(0), b.Scalar(1e6f), b.Scalar(1)}), "positions");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldConstants(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Range"));
}

}  // namespace
}  // namespace ds
