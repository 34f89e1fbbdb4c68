#include "graph/schema/schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "graph/builder.h"
#include "graph/schema/window.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<int64_t>;
constexpr int64_t kAny = kDynamicDim;

// Shape of op(inputs...) where the first input has shape `x` and the others are int64 constants or
// kNoValue.
struct Case {
  std::string op;
  Shape x;
  std::vector<std::optional<Ints>> constants;
  Attributes attributes;
};

absl::StatusOr<Graph> BuildCase(const Case& c) {
  Builder b("case");
  std::vector<ValueId> inputs = {b.Input("x", DType::kFloat32, c.x)};
  for (const auto& ints : c.constants) inputs.push_back(ints ? b.Ints(*ints) : kNoValue);
  b.Output(b.Op(c.op, inputs, c.attributes, "node"), "y");
  return b.Finish();
}

Shape Infer(const Case& c) {
  const auto graph = BuildCase(c);
  EXPECT_TRUE(graph.ok()) << c.op << ": " << graph.status();
  return graph.ok() ? *graph->value(graph->FindValue("y")).shape : Shape{-99};
}

std::string InferError(const Case& c) {
  const auto graph = BuildCase(c);
  EXPECT_FALSE(graph.ok()) << c.op;
  EXPECT_THAT(std::string(graph.status().message()), HasSubstr("'node' (" + c.op + ")"));
  return std::string(graph.status().message());
}

// The shape of op over float inputs of the given shapes.
Shape InferMany(const std::string& op, const std::vector<Shape>& shapes,
                Attributes attributes = {}) {
  Builder b("case");
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < shapes.size(); ++i) {
    inputs.push_back(b.Input("x" + std::to_string(i), DType::kFloat32, shapes[i]));
  }
  b.Output(b.Op(op, inputs, std::move(attributes)), "y");
  const auto graph = b.Finish();
  return graph.ok() ? *graph->value(graph->FindValue("y")).shape : Shape{-99};
}

TEST(SchemaTest, KnowsEveryOperatorOfThePlan) {
  for (const char* op : {"Conv",
                         "BatchNormalization",
                         "Gemm",
                         "MatMul",
                         "Relu",
                         "Clip",
                         "HardSwish",
                         "HardSigmoid",
                         "Sigmoid",
                         "SiLU",
                         "Gelu",
                         "Softmax",
                         "LogSoftmax",
                         "LayerNormalization",
                         "Add",
                         "Sub",
                         "Mul",
                         "Div",
                         "Pow",
                         "Sqrt",
                         "Erf",
                         "Tanh",
                         "Exp",
                         "Log",
                         "Neg",
                         "Abs",
                         "Reciprocal",
                         "Where",
                         "Equal",
                         "MaxPool",
                         "AveragePool",
                         "GlobalAveragePool",
                         "ReduceMean",
                         "ReduceSum",
                         "Flatten",
                         "Reshape",
                         "Transpose",
                         "Concat",
                         "Split",
                         "Slice",
                         "Gather",
                         "Resize",
                         "Pad",
                         "Constant",
                         "ConstantOfShape",
                         "Expand",
                         "Shape",
                         "Range",
                         "Squeeze",
                         "Unsqueeze",
                         "Cast",
                         "Identity",
                         "Dropout",
                         "LeakyRelu",
                         "Tile"}) {
    ASSERT_NE(FindSchema(op), nullptr) << op;
    EXPECT_EQ(FindSchema(op)->name, op);
    EXPECT_NE(FindSchema(op)->infer, nullptr) << op;
  }
  EXPECT_EQ(FindSchema("Loop"), nullptr);
  EXPECT_EQ(FindSchema(""), nullptr);
  const auto ops = SupportedOps();
  EXPECT_TRUE(std::is_sorted(ops.begin(), ops.end()));
  EXPECT_EQ(std::adjacent_find(ops.begin(), ops.end()), ops.end());
}

TEST(SchemaTest, OnnxTypeNumbersGoBothWays) {
  EXPECT_EQ(OnnxTypeNumber(DType::kFloat32), 1);
  EXPECT_EQ(OnnxTypeNumber(DType::kInt64), 7);
  for (int type = 0; type <= static_cast<int>(DType::kUInt2); ++type) {
    const auto dtype = static_cast<DType>(type);
    EXPECT_EQ(DTypeFromOnnxTypeNumber(OnnxTypeNumber(dtype)).value(), dtype);
  }
  EXPECT_FALSE(DTypeFromOnnxTypeNumber(8).ok());  // string
}

TEST(SchemaTest, BroadcastsLikeNumpyWithUnknownExtents) {
  EXPECT_EQ(*BroadcastShapes({3, 1}, {4}), (Shape{3, 4}));
  EXPECT_EQ(*BroadcastShapes({}, {2, 3}), (Shape{2, 3}));
  EXPECT_EQ(*BroadcastShapes({kAny, 3}, {1, 3}), (Shape{kAny, 3}));
  EXPECT_EQ(*BroadcastShapes({kAny}, {5}), (Shape{5}));
  EXPECT_EQ(*BroadcastShapes({0}, {1}), (Shape{0}));
  EXPECT_FALSE(BroadcastShapes({3}, {4}).ok());
  EXPECT_FALSE(BroadcastShapes({0}, {2}).ok());
}

TEST(SchemaTest, ConvolutionFollowsItsFormula) {
  auto conv = [](Shape x, Shape w, Attributes attributes) {
    return InferMany("Conv", {std::move(x), std::move(w)}, std::move(attributes));
  };
  EXPECT_EQ(conv({kAny, 3, 32, 31}, {8, 3, 3, 3}, {}), (Shape{kAny, 8, 30, 29}));
  EXPECT_EQ(
      conv({2, 3, 32, 31}, {8, 3, 3, 3}, {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}}),
      (Shape{2, 8, 16, 16}));
  EXPECT_EQ(conv({2, 4, 9, 9}, {6, 2, 3, 3}, {{"group", int64_t{2}}, {"dilations", Ints{2, 3}}}),
            (Shape{2, 6, 5, 3}));
  EXPECT_EQ(conv({2, 3, 17}, {5, 3, 4}, {{"strides", Ints{3}}}), (Shape{2, 5, 5}));
  EXPECT_EQ(conv({2, 3, kAny, 7}, {5, 3, 7, 7}, {}), (Shape{2, 5, kAny, 1}));
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 3, 3},
                 {{"auto_pad", std::string("SAME_UPPER")}, {"strides", Ints{2, 3}}}),
            (Shape{2, 5, 4, 3}));
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 4, 3, 3}, {}), (Shape{-99}));  // channels
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 8, 3}, {}), (Shape{-99}));  // too large
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 3}, {}), (Shape{-99}));     // rank
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 3, 3}, {{"strides", Ints{0, 1}}}), (Shape{-99}));
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 3, 3}, {{"group", int64_t{0}}}), (Shape{-99}));
  EXPECT_EQ(conv({2, 3, 7, 7}, {5, 3, 3, 3}, {{"kernel_shape", Ints{1, 1}}}), (Shape{-99}));
}

TEST(SchemaTest, WindowsResolveSamePadding) {
  Node node{.name = "n",
            .op = "Conv",
            .inputs = {},
            .outputs = {},
            .attributes = {{"auto_pad", std::string("SAME_LOWER")}, {"strides", Ints{2}}}};
  // 7 elements by 2: 4 results cover (4 - 1) * 2 + 4 = 10, so 3 are padded, the odd one first.
  const Window lower = ResolveWindow(node, {4}, {7}).value();
  EXPECT_EQ(lower.output, Ints{4});
  EXPECT_EQ(lower.pad_begin, Ints{2});
  EXPECT_EQ(lower.pad_end, Ints{1});
  node.attributes["auto_pad"] = std::string("SAME_UPPER");
  EXPECT_EQ(ResolveWindow(node, {4}, {7}).value().pad_begin, Ints{1});
  node.attributes["auto_pad"] = std::string("SAME");
  EXPECT_FALSE(ResolveWindow(node, {4}, {7}).ok());
}

TEST(SchemaTest, PoolsRoundUpWithoutAWindowInThePadding) {
  auto pool = [](int64_t extent, Ints kernel, Ints strides, Ints pads, int64_t ceil) {
    return Infer(
        {"MaxPool",
         {1, 2, extent},
         {},
         {{"kernel_shape", kernel}, {"strides", strides}, {"pads", pads}, {"ceil_mode", ceil}}})[2];
  };
  EXPECT_EQ(pool(6, {3}, {2}, {0, 0}, 0), 2);
  EXPECT_EQ(pool(6, {3}, {2}, {0, 0}, 1), 3);
  EXPECT_EQ(pool(7, {3}, {2}, {0, 0}, 1), 3);
  // torch.nn.MaxPool1d(2, 2, padding=1, ceil_mode=True) gives 3 for 5: a fourth would start in the
  // padding.
  EXPECT_EQ(pool(4, {2}, {2}, {1, 1}, 1), 3);
  EXPECT_EQ(pool(5, {2}, {2}, {1, 1}, 1), 3);
  EXPECT_THAT(
      InferError({"MaxPool", {1, 2, 6}, {}, {{"kernel_shape", Ints{2}}, {"pads", Ints{2, 0}}}}),
      HasSubstr("smaller than the window"));
}

TEST(SchemaTest, MatrixProductsBroadcastTheirBatch) {
  EXPECT_EQ(InferMany("MatMul", {{kAny, 3, 4, 5}, {5, 6}}), (Shape{kAny, 3, 4, 6}));
  EXPECT_EQ(InferMany("MatMul", {{2, 1, 4, 5}, {3, 5, 6}}), (Shape{2, 3, 4, 6}));
  EXPECT_EQ(InferMany("MatMul", {{5}, {5, 6}}), (Shape{6}));
  EXPECT_EQ(InferMany("MatMul", {{4, 5}, {5}}), (Shape{4}));
  EXPECT_EQ(InferMany("MatMul", {{5}, {5}}), (Shape{}));
  EXPECT_EQ(InferMany("MatMul", {{4, 5}, {4, 5}}), (Shape{-99}));
  EXPECT_EQ(InferMany("Gemm", {{kAny, 5}, {7, 5}, {7}}, {{"transB", int64_t{1}}}),
            (Shape{kAny, 7}));
  EXPECT_EQ(InferMany("Gemm", {{5, 3}, {5, 7}}, {{"transA", int64_t{1}}}), (Shape{3, 7}));
  EXPECT_EQ(InferMany("Gemm", {{3, 5}, {5, 7}, {6}}), (Shape{-99}));
  EXPECT_EQ(InferMany("Gemm", {{1, 5}, {5, 7}, {2, 7}}), (Shape{-99}));
}

TEST(SchemaTest, ReshapeCopiesAndInfers) {
  EXPECT_EQ(Infer({"Reshape", {2, 3, 4}, {Ints{0, -1}}, {}}), (Shape{2, 12}));
  EXPECT_EQ(Infer({"Reshape", {kAny, 3, 4}, {Ints{0, -1}}, {}}), (Shape{kAny, 12}));
  EXPECT_EQ(Infer({"Reshape", {kAny, 3, 4}, {Ints{-1, 12}}, {}}), (Shape{kAny, 12}));
  EXPECT_EQ(Infer({"Reshape", {kAny, 12}, {Ints{0, 3, 2, 2}}, {}}), (Shape{kAny, 3, 2, 2}));
  EXPECT_EQ(Infer({"Reshape", {}, {Ints{1, 1}}, {}}), (Shape{1, 1}));
  EXPECT_EQ(Infer({"Reshape", {0, 3}, {Ints{0, 3}}, {{"allowzero", int64_t{1}}}}), (Shape{0, 3}));
  EXPECT_THAT(InferError({"Reshape", {2, 3}, {Ints{4}}, {}}), HasSubstr("6 elements"));
  EXPECT_THAT(InferError({"Reshape", {2, 3}, {Ints{-1, 4}}, {}}), HasSubstr("6 elements"));
  EXPECT_THAT(InferError({"Reshape", {2, 3}, {Ints{-1, -1}}, {}}), HasSubstr("more than one -1"));
  EXPECT_THAT(InferError({"Reshape", {2}, {Ints{2, 0}}, {}}), HasSubstr("copies axis 1"));
  EXPECT_THAT(InferError({"Reshape", {kAny, 12}, {Ints{0, 3, 5}}, {}}), HasSubstr("do not fit"));
}

TEST(SchemaTest, ReshapeOperatorsRearrangeExtents) {
  EXPECT_EQ(Infer({"Flatten", {kAny, 3, 4}, {}, {}}), (Shape{kAny, 12}));
  EXPECT_EQ(Infer({"Flatten", {2, 3, 4}, {}, {{"axis", int64_t{-1}}}}), (Shape{6, 4}));
  EXPECT_EQ(Infer({"Flatten", {2, 3}, {}, {{"axis", int64_t{0}}}}), (Shape{1, 6}));
  EXPECT_EQ(Infer({"Transpose", {kAny, 2, 3}, {}, {}}), (Shape{3, 2, kAny}));
  EXPECT_EQ(Infer({"Transpose", {kAny, 2, 3}, {}, {{"perm", Ints{0, 2, 1}}}}), (Shape{kAny, 3, 2}));
  EXPECT_THAT(InferError({"Transpose", {1, 2}, {}, {{"perm", Ints{0, 0}}}}), HasSubstr("perm"));
  EXPECT_EQ(Infer({"Squeeze", {1, 2, 1}, {}, {}}), (Shape{2}));
  EXPECT_EQ(Infer({"Squeeze", {1, 2, 1}, {Ints{-1}}, {}}), (Shape{1, 2}));
  EXPECT_THAT(InferError({"Squeeze", {1, 2}, {Ints{1}}, {}}), HasSubstr("only 1 can go"));
  EXPECT_EQ(Infer({"Unsqueeze", {4, kAny}, {Ints{0, -1}}, {}}), (Shape{1, 4, kAny, 1}));
  EXPECT_THAT(InferError({"Unsqueeze", {4}, {Ints{0, 0}}, {}}), HasSubstr("twice"));
  EXPECT_EQ(Infer({"Expand", {kAny, 1}, {Ints{1, 3}}, {}}), (Shape{kAny, 3}));
  EXPECT_EQ(Infer({"Tile", {2, kAny}, {Ints{3, 2}}, {}}), (Shape{6, kAny}));
}

TEST(SchemaTest, PartsArePickedAndJoined) {
  EXPECT_EQ(InferMany("Concat", {{kAny, 3, 5}, {2, 4, 5}}, {{"axis", int64_t{1}}}),
            (Shape{2, 7, 5}));
  EXPECT_EQ(InferMany("Concat", {{2, 3}, {2, kAny}}, {{"axis", int64_t{-1}}}), (Shape{2, kAny}));
  EXPECT_EQ(InferMany("Concat", {{2, 3}, {3, 3}}, {{"axis", int64_t{1}}}), (Shape{-99}));
  constexpr int64_t kEnd = INT64_MAX;
  EXPECT_EQ(Infer({"Slice", {9, 5}, {Ints{1}, Ints{kEnd}, Ints{0}, Ints{2}}, {}}), (Shape{4, 5}));
  EXPECT_EQ(Infer({"Slice", {9, 5}, {Ints{-3}, Ints{-1}, Ints{-1}}, {}}), (Shape{9, 2}));
  EXPECT_EQ(Infer({"Slice", {9, 5}, {Ints{-1}, Ints{-kEnd}, Ints{0}, Ints{-1}}, {}}),
            (Shape{9, 5}));
  EXPECT_EQ(Infer({"Slice", {9}, {Ints{5}, Ints{2}, std::nullopt, Ints{-2}}, {}}), (Shape{2}));
  EXPECT_EQ(Infer({"Slice", {9}, {Ints{5}, Ints{2}}, {}}), (Shape{0}));
  EXPECT_EQ(Infer({"Slice", {kAny, 5}, {Ints{0}, Ints{2}, Ints{1}}, {}}), (Shape{kAny, 2}));
  EXPECT_THAT(InferError({"Slice", {9}, {Ints{0}, Ints{2}, Ints{0}, Ints{0}}, {}}),
              HasSubstr("step"));
  EXPECT_EQ(Infer({"Gather", {5, 6, 7}, {Ints{1, 2}}, {{"axis", int64_t{1}}}}), (Shape{5, 2, 7}));
}

TEST(SchemaTest, SplitsGiveEachOutputItsSize) {
  for (const bool sizes : {false, true}) {
    Builder b("split");
    const ValueId x = b.Input("x", DType::kFloat32, {kAny, 6});
    const Attributes axis = {{"axis", int64_t{1}}};
    const auto parts =
        sizes ? b.MultiOp("Split", {x, b.Ints({1, 5})}, 2, axis) : b.MultiOp("Split", {x}, 2, axis);
    b.Output(parts[0], "a");
    b.Output(parts[1], "b");
    const Graph graph = b.Finish().value();
    EXPECT_EQ(graph.value(parts[0]).shape, (Shape{kAny, sizes ? 1 : 3}));
    EXPECT_EQ(graph.value(parts[1]).shape, (Shape{kAny, sizes ? 5 : 3}));
  }
  EXPECT_THAT(InferError({"Split", {6}, {Ints{2, 5}}, {}}), HasSubstr("add up to 7"));
}

TEST(SchemaTest, ReductionsKeepOrDropAxes) {
  EXPECT_EQ(Infer({"ReduceMean", {kAny, 3, 4}, {}, {{"axes", Ints{-1}}}}), (Shape{kAny, 3, 1}));
  EXPECT_EQ(Infer({"ReduceMean", {2, 3, 4}, {}, {{"keepdims", int64_t{0}}}}), (Shape{}));
  EXPECT_EQ(Infer({"ReduceSum", {2, 3, 4}, {Ints{0, 2}}, {{"keepdims", int64_t{0}}}}), (Shape{3}));
  EXPECT_EQ(Infer({"ReduceSum", {2, 3}, {}, {{"noop_with_empty_axes", int64_t{1}}}}),
            (Shape{2, 3}));
  EXPECT_THAT(InferError({"ReduceMean", {2}, {}, {{"axes", Ints{1}}}}), HasSubstr("outside"));
  EXPECT_EQ(Infer({"GlobalAveragePool", {kAny, 3, 7, kAny}, {}, {}}), (Shape{kAny, 3, 1, 1}));
}

TEST(SchemaTest, ImagesAreResizedAndPadded) {
  Builder b("resize");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3, 5, 7});
  const ValueId scales = b.Constant("s", Tensor::From<float>({4}, {1, 1, 2, 1.5f}));
  b.Output(b.Op("Resize", {x, kNoValue, scales}), "y");
  const Graph graph = b.Finish().value();
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{kAny, 3, 10, 10}));
  EXPECT_EQ(Infer({"Resize", {kAny, 3, 5, 7}, {std::nullopt, std::nullopt, Ints{1, 3, 9, 4}}, {}}),
            (Shape{1, 3, 9, 4}));
  EXPECT_THAT(InferError({"Resize",
                          {1, 1, 4, 4},
                          {std::nullopt, std::nullopt, Ints{1, 1, 8, 8}},
                          {{"mode", std::string("lanczos")}}}),
              HasSubstr("nearest, linear, cubic"));
  EXPECT_EQ(Infer({"Pad", {kAny, 5}, {Ints{0, 1, 0, 2}}, {}}), (Shape{kAny, 8}));
  EXPECT_EQ(Infer({"Pad", {5}, {Ints{-1, -2}}, {}}), (Shape{2}));
  EXPECT_EQ(Infer({"Pad", {4, 5}, {Ints{1, 2}, std::nullopt, Ints{-1}}, {}}), (Shape{4, 8}));
  EXPECT_THAT(InferError({"Pad", {4, 5}, {Ints{1, 2}, std::nullopt, Ints{2}}, {}}),
              HasSubstr("axes holds 2"));
  EXPECT_THAT(InferError({"Pad", {3}, {Ints{3, 0}}, {{"mode", std::string("reflect")}}}),
              HasSubstr("below the extent"));
  EXPECT_THAT(InferError({"Pad", {3}, {Ints{-2, -2}}, {}}), HasSubstr("extent -1"));
}

TEST(SchemaTest, TypesMustFit) {
  Builder b("types");
  const ValueId x = b.Input("x", DType::kFloat32, {2});
  b.Output(b.Op("Add", {x, b.Ints({1, 2})}, {}, "node"), "y");
  EXPECT_THAT(std::string(b.Finish().status().message()), HasSubstr("float32 and int64"));
}

TEST(SchemaTest, ExtentsBeyondReasonAreRefused) {
  const int64_t huge = int64_t{1} << 39;
  EXPECT_FALSE(BuildCase({"Relu", {huge, huge, huge}, {}, {}}).ok());
  EXPECT_FALSE(BuildCase({"Tile", {huge}, {Ints{huge}}, {}}).ok());
  EXPECT_FALSE(BuildCase({"Relu", {-5}, {}, {}}).ok());
}

TEST(SchemaTest, ShapeArithmeticOfExportedNetworksIsFollowed) {
  // x.view(x.size(0), -1), and x.view(x.size(0), x.size(1) // 2, 2, -1), with an unknown batch.
  Builder b("view");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 6, 4, 5});
  const ValueId shape = b.Op("Shape", {x});
  const ValueId batch =
      b.Op("Unsqueeze",
           {b.Op("Gather", {shape, b.Constant("i0", Tensor::Scalar<int64_t>(0))}), b.Ints({0})});
  const ValueId channels = b.Op("Slice", {shape, b.Ints({1}), b.Ints({2}), b.Ints({0})});
  const ValueId half = b.Op("Div", {channels, b.Ints({2})});
  b.Output(b.Op("Reshape", {x, b.Concat({batch, b.Ints({-1})}, 0)}), "flat");
  b.Output(b.Op("Reshape", {x, b.Concat({batch, half, b.Ints({2}), b.Ints({-1})}, 0)}), "groups");
  const Graph graph = b.Finish().value();
  EXPECT_EQ(graph.value(graph.FindValue("flat")).shape, (Shape{kAny, 120}));
  EXPECT_EQ(graph.value(graph.FindValue("groups")).shape, (Shape{kAny, 3, 2, 20}));
}

TEST(SchemaTest, MultiplyAccumulatesCountOneSample) {
  Builder b("macs");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 4, 6, 6});
  x = b.Conv(x, "conv", {.channels = 8, .groups = 2});
  x = b.Linear(b.Flatten(b.GlobalAveragePool(x)), "fc", 5);
  b.Output(x, "y");
  const Graph graph = b.Finish().value();
  EXPECT_EQ(MultiplyAccumulates(graph, graph.nodes()[0]), 8 * 36 * 2 * 9);
  EXPECT_EQ(MultiplyAccumulates(graph, graph.nodes()[1]), 0);
  EXPECT_EQ(MultiplyAccumulates(graph, graph.nodes().back()), 40);
}

TEST(BuilderTest, KeepsTheFirstErrorAndGoesQuiet) {
  Builder b("broken");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 3, 2, 2});
  x = b.Conv(x, "first", {.channels = 4, .kernel = 5, .padding = 0});
  x = b.Linear(x, "second", 3);
  b.Output(x, "y");
  const absl::Status status = b.Finish().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(HasSubstr("'broken'"), HasSubstr("'first'"), HasSubstr("covers 5")));
}

TEST(BuilderTest, RefusesOneNameForTwoLayers) {
  Builder b("twice");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  b.Output(b.Linear(b.Linear(x, "fc", 3), "fc", 3), "y");
  EXPECT_THAT(std::string(b.Finish().status().message()), HasSubstr("'fc.weight' is used twice"));
}

}  // namespace
}  // namespace ds
