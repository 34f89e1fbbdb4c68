#include "graph/passes/dynamic_batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graph/builder.h"
#include "graph/input_layout.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int64_t> Target(const Graph& graph, const std::string& op, size_t slot = 1) {
  for (const Node& node : graph.nodes()) {
    if (node.op != op) continue;
    const auto ints = graph.Constant(node.inputs[slot])->span<int64_t>();
    return {ints.begin(), ints.end()};
  }
  return {};
}

Shape Output(const Graph& graph) { return *graph.value(graph.outputs()[0]).shape; }

// y = Reshape(x, target) for x of the file's shape.
absl::StatusOr<Graph> Reshaped(const Shape& input, const std::vector<int64_t>& target) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, input);
  b.Output(b.Op("Reshape", {x, b.Ints(target)}), "y");
  Graph graph = b.Finish().value();
  const absl::Status status = MakeBatchDynamic(graph);
  if (!status.ok()) return status;
  return graph;
}

TEST(DynamicBatchTest, ReshapesFollowTheBatchWhereverItGoes) {
  EXPECT_THAT(Target(*Reshaped({1, 3, 8, 8}, {1, 192}), "Reshape"), ElementsAre(-1, 192));
  EXPECT_THAT(Target(*Reshaped({1, 3, 8, 8}, {1, -1}), "Reshape"), ElementsAre(-1, 192));
  EXPECT_THAT(Target(*Reshaped({1, 3, 8, 8}, {-1, 192}), "Reshape"), ElementsAre(-1, 192));
  EXPECT_THAT(Target(*Reshaped({1, 3, 8, 8}, {0, 192}), "Reshape"), ElementsAre(0, 192));
  EXPECT_THAT(Target(*Reshaped({4, 6, 8}, {24, 8}), "Reshape"), ElementsAre(-1, 8));
  EXPECT_EQ(Output(*Reshaped({1, 3, 8, 8}, {1, 192})), (Shape{kDynamicDim, 192}));
}

TEST(DynamicBatchTest, WhereTheBatchGoesMustBeClear) {
  // [1, T, C] to [T, 1, C]: a transposition that was simplified for a batch of 1.
  const auto moved = Reshaped({1, 6, 8}, {6, 1, 8});
  ASSERT_FALSE(moved.ok());
  EXPECT_THAT(moved.status().message(), HasSubstr("named extent"));
  EXPECT_FALSE(Reshaped({4, 6, 8}, {2, 2, 48}).ok());
}

// gamma [8] -> Reshape [1, -1, 1, 1], times the channels of x. With as many samples as channels the
// numbers fit and mean something else.
Graph ReshapedWeight(int64_t batch) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {batch, 8, 4, 4});
  const ValueId gamma = b.Parameter("gamma", Tensor(DType::kFloat32, {8}));
  b.Output(b.Op("Mul", {x, b.Op("Reshape", {gamma, b.Ints({1, -1, 1, 1})})}), "y");
  return b.Finish().value();
}

TEST(DynamicBatchTest, AReshapedWeightKeepsItsNumbers) {
  for (const int64_t batch : {1, 8}) {
    Graph graph = ReshapedWeight(batch);
    ASSERT_TRUE(MakeBatchDynamic(graph).ok()) << batch;
    EXPECT_THAT(Target(graph, "Reshape"), ElementsAre(1, -1, 1, 1));
    EXPECT_EQ(Output(graph), (Shape{kDynamicDim, 8, 4, 4}));
  }
}

// [T, N, 8, 4] of an unknown T to [T, N, 32], where N was a number when the file was made: a
// recogniser of text lines.
Graph Lines(bool rows) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {1, 8, 4, kDynamicDim});
  const ValueId t = b.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{3, 0, 1, 2}}});
  const ValueId length = b.Op("Shape", {t}, {{"start", int64_t{0}}, {"end", int64_t{1}}});
  const auto to = [&](ValueId from, const std::vector<int64_t>& rest) {
    return b.Op("Reshape", {from, b.Concat({length, b.Ints(rest)}, 0)});
  };
  // Or to [T x N, 32], in the file [T, 32].
  b.Output(rows ? to(t, {32}) : to(t, {1, 32}), "y");
  return b.Finish().value();
}

TEST(DynamicBatchTest, ABatchBesideAnUnknownExtentIsFollowedOrRefused) {
  Graph lines = Lines(/*rows=*/false);
  const absl::Status status = MakeBatchDynamic(lines);
  ASSERT_TRUE(status.ok()) << status;
  lines.mutable_value(lines.inputs()[0]).shape = Shape{5, 8, 4, 20};
  ASSERT_TRUE(InferShapes(lines).ok());
  EXPECT_EQ(Output(lines), (Shape{20, 5, 32}));

  Graph rows = Lines(/*rows=*/true);
  const absl::Status refused = MakeBatchDynamic(rows);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(std::string(refused.message()), HasSubstr("batches of 1 only"));
}

TEST(DynamicBatchTest, TheBatchIsFollowedThroughTranspositions) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 6, 8});
  const ValueId t = b.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}});
  const ValueId heads = b.Op("Reshape", {t, b.Ints({6, 4, 4})});  // T, batch x heads, width
  b.Output(b.Op("Transpose", {heads}, {{"perm", std::vector<int64_t>{1, 0, 2}}}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(MakeBatchDynamic(graph).ok());
  EXPECT_THAT(Target(graph, "Reshape"), ElementsAre(6, -1, 4));
  EXPECT_EQ(Output(graph), (Shape{kDynamicDim, 6, 4}));
}

TEST(DynamicBatchTest, AClassTokenIsRepeatedForEachSample) {
  for (const int64_t batch : {1, 3}) {
    Builder b("g");
    const ValueId x = b.Input("x", DType::kFloat32, {batch, 6, 8});
    const ValueId token = b.Parameter("cls_token", Tensor(DType::kFloat32, {1, 1, 8}));
    const ValueId rows = b.Op("Expand", {token, b.Ints({batch, 1, 8})});
    b.Output(b.Concat({rows, x}, 1), "y");
    Graph graph = b.Finish().value();
    const absl::Status status = MakeBatchDynamic(graph);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Output(graph), (Shape{kDynamicDim, 7, 8}));
    // With two samples it computes: shapes fit at any batch.
    graph.mutable_value(graph.inputs()[0]).shape = Shape{2, 6, 8};
    ASSERT_TRUE(InferShapes(graph).ok());
    EXPECT_EQ(Output(graph), (Shape{2, 7, 8}));
  }
}

TEST(DynamicBatchTest, ConstantsWithARowForEachSampleBecomeOneRow) {
  const auto added = [](const std::vector<float>& rows) {
    Builder b("g");
    const ValueId x = b.Input("x", DType::kFloat32, {2, 2});
    b.Output(b.Op("Add", {x, b.Constant("c", Tensor::From<float>({2, 2}, rows))}), "y");
    return b.Finish().value();
  };
  Graph same = added({1, 2, 1, 2});
  ASSERT_TRUE(MakeBatchDynamic(same).ok());
  EXPECT_EQ(Output(same), (Shape{kDynamicDim, 2}));
  Graph differs = added({1, 2, 3, 4});
  const absl::Status status = MakeBatchDynamic(differs);
  EXPECT_THAT(status.message(), HasSubstr("a row of its own for each of 2 samples"));
}

TEST(DynamicBatchTest, OnlyTheBatchesAxisIsLookedAt) {
  // A constant's first axis has the extent of the batch, and stands beside another axis of x.
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 2, 3});
  const Tensor rows = Tensor::From<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  b.Output(b.Op("Add", {x, b.Constant("c", rows)}), "y");
  Graph graph = b.Finish().value();
  const absl::Status status = MakeBatchDynamic(graph);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(graph.Constant(graph.nodes()[0].inputs[1])->shape(), (Shape{2, 3}));
}

TEST(DynamicBatchTest, ExpandingKeepsTheBatchAndAddsAxesInFront) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {3, 1, 8});
  const ValueId wide = b.Op("Expand", {x, b.Ints({5, 3, 6, 8})});
  b.Output(b.Op("Transpose", {wide}, {{"perm", std::vector<int64_t>{1, 0, 2, 3}}}), "y");
  Graph graph = b.Finish().value();
  const absl::Status status = MakeBatchDynamic(graph);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(Target(graph, "Expand"), ElementsAre(5, 1, 6, 8));
  EXPECT_EQ(Output(graph), (Shape{kDynamicDim, 5, 6, 8}));
}

TEST(DynamicBatchTest, RowsThatAreJoinedToTheBatchStayAsTheyAre) {
  for (const int64_t axis : {0, -2}) {
    Builder b("g");
    const ValueId x = b.Input("x", DType::kFloat32, {2, 3});
    const ValueId c = b.Constant("c", Tensor::From<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
    b.Output(b.Concat({x, c}, axis), "y");
    Graph graph = b.Finish().value();
    const absl::Status status = MakeBatchDynamic(graph);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Output(graph), (Shape{kDynamicDim, 3}));
    EXPECT_EQ(graph.nodes().size(), 1u);
  }
}

TEST(DynamicBatchTest, AnUnknownBatchStaysAsItIs) {
  Graph graph = ReshapedWeight(kDynamicDim);
  const size_t values = graph.values().size();
  ASSERT_TRUE(MakeBatchDynamic(graph).ok());
  EXPECT_EQ(graph.values().size(), values);
}

Graph Picture(Shape shape, const std::vector<int64_t>& perm) {
  Builder b("g");
  ValueId x = b.Input("x", DType::kFloat32, std::move(shape));
  x = b.Op("Mul", {x, b.Constant("scale", Tensor::Scalar(0.5F))});
  if (!perm.empty()) x = b.Op("Transpose", {x}, {{"perm", perm}});
  b.Output(x, "y");
  return b.Finish().value();
}

TEST(InputLayoutTest, ATransposedInputHasItsChannelsLast) {
  const auto layout = [](const Graph& graph) { return LayoutOfInput(graph, graph.inputs()[0]); };
  EXPECT_EQ(layout(Picture({kDynamicDim, 32, 24, 3}, {0, 3, 1, 2})), InputLayout::kChannelsLast);
  EXPECT_EQ(layout(Picture({kDynamicDim, 32, 24, 7}, {0, 3, 1, 2})), InputLayout::kChannelsLast);
  EXPECT_EQ(layout(Picture({kDynamicDim, 32, 24, 3}, {})), InputLayout::kUnknown);
  EXPECT_EQ(layout(Picture({kDynamicDim, 3, 32, 24}, {0, 2, 3, 1})), InputLayout::kChannelsFirst);
  EXPECT_EQ(layout(Picture({kDynamicDim, 3, 3, 3}, {0, 3, 1, 2})), InputLayout::kChannelsLast);
  EXPECT_EQ(layout(Picture({kDynamicDim, 3, 3, 3}, {})), InputLayout::kUnknown);
  EXPECT_EQ(layout(Picture({kDynamicDim, 4}, {})), InputLayout::kUnknown);
}

}  // namespace
}  // namespace ds
