// Shapes of the operators beyond the common ones, and the numbers that are followed through them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>

#include "absl/strings/str_split.h"
#include "graph/builder.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using Ints = std::vector<int64_t>;
constexpr int64_t kAny = kDynamicDim;

// An operator over inputs of the given shapes (of float32, but for those that `ints` names).
struct Case {
  std::string op;
  std::vector<Shape> inputs;
  Attributes attributes = {};
  std::vector<int> ints = {};
  int outputs = 1;
};

absl::StatusOr<std::vector<Shape>> Infer(const Case& c) {
  Builder b("case");
  std::vector<ValueId> inputs;
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const bool integer = std::count(c.ints.begin(), c.ints.end(), static_cast<int>(i)) > 0;
    inputs.push_back(
        b.Input("x" + std::to_string(i), integer ? DType::kInt64 : DType::kFloat32, c.inputs[i]));
  }
  const auto outputs = b.MultiOp(c.op, inputs, c.outputs, c.attributes, "node");
  for (size_t i = 0; i < outputs.size(); ++i) b.Output(outputs[i], "y" + std::to_string(i));
  const auto graph = b.Finish();
  if (!graph.ok()) return graph.status();
  std::vector<Shape> shapes;
  for (const ValueId id : graph->outputs()) shapes.push_back(*graph->value(id).shape);
  return shapes;
}

TEST(SchemaOperatorsTest, InfersShapes) {
  const auto expect = [](const Case& c, std::vector<Shape> wanted) {
    const auto shapes = Infer(c);
    ASSERT_TRUE(shapes.ok()) << c.op << ": " << shapes.status();
    EXPECT_EQ(*shapes, wanted) << c.op;
  };
  expect({"Max", {{kAny, 3}, {4, 1, 1}, {3}}}, {{4, kAny, 3}});
  expect({"Less", {{2, 1}, {3}}}, {{2, 3}});
  expect({"PRelu", {{kAny, 3, 4}, {3, 1}}}, {{kAny, 3, 4}});
  expect({"ReduceMax", {{kAny, 3, 4}}, {{"axes", Ints{-1}}}}, {{kAny, 3, 1}});
  expect({"ReduceL2", {{kAny, 3, 4}}, {{"axes", Ints{1, 2}}, {"keepdims", int64_t{0}}}}, {{kAny}});
  expect({"ArgMax", {{kAny, 3, 4}}, {{"axis", int64_t{1}}, {"keepdims", int64_t{0}}}}, {{kAny, 4}});
  expect({"InstanceNormalization", {{kAny, 3, 4}, {3}, {3}}}, {{kAny, 3, 4}});
  expect({"DepthToSpace", {{kAny, 8, 3, kAny}}, {{"blocksize", int64_t{2}}}}, {{kAny, 2, 6, kAny}});
  expect({"SpaceToDepth", {{kAny, 2, 6, 4}}, {{"blocksize", int64_t{2}}}}, {{kAny, 8, 3, 2}});
  expect({"GridSample", {{kAny, 3, 4, 5}, {kAny, 6, 7, 2}}}, {{kAny, 3, 6, 7}});
  expect({"NonZero", {{2, 3}}}, {{2, kAny}});
  expect({"Size", {{kAny, 3}}}, {{}});
  expect({"AveragePool", {{1, 2, 9, 9}}, {{"kernel_shape", Ints{3, 3}}, {"dilations", Ints{2, 3}}}},
         {{1, 2, 5, 3}});
}

TEST(SchemaOperatorsTest, WhatIsComputedLeavesExtentsOpenButNotTheRank) {
  const auto expect = [](const Case& c, std::vector<Shape> wanted) {
    const auto shapes = Infer(c);
    ASSERT_TRUE(shapes.ok()) << c.op << ": " << shapes.status();
    EXPECT_EQ(*shapes, wanted) << c.op;
  };
  expect({"ReduceSum", {{2, 3, 4}, {2}}, {{"keepdims", int64_t{0}}}, {1}}, {{kAny}});
  expect({"ReduceMax", {{2, 3, 4}, {1}}, {}, {1}}, {{kAny, kAny, kAny}});
  expect({"Squeeze", {{2, 1, 1}, {2}}, {}, {1}}, {{kAny}});
  expect({"Unsqueeze", {{2, 3}, {2}}, {}, {1}}, {{kAny, kAny, kAny, kAny}});
  expect({"Pad", {{2, 3}, {4}}, {}, {1}}, {{kAny, kAny}});
  expect({"Slice", {{2, 3}, {1}, {1}, {1}}, {}, {1, 2, 3}}, {{kAny, kAny}});
  expect({"Split", {{2, 3}, {2}}, {{"axis", int64_t{1}}}, {1}, 2}, {{2, kAny}, {2, kAny}});
  expect({"TopK", {{2, 3}, {1}}, {}, {1}, 2}, {{2, kAny}, {2, kAny}});
}

TEST(SchemaOperatorsTest, RefusesWhatCannotBe) {
  const auto refused = [](const Case& c, const std::string& words) {
    const auto shapes = Infer(c);
    ASSERT_FALSE(shapes.ok()) << c.op;
    EXPECT_THAT(std::string(shapes.status().message()), HasSubstr("'node' (" + c.op + ")"));
    EXPECT_THAT(std::string(shapes.status().message()), HasSubstr(words));
  };
  refused({"Max", {{2}, {3}}}, "cannot be broadcast");
  refused({"And", {{2}, {2}}}, "takes bool");
  refused({"BitwiseAnd", {{2}, {2}}}, "takes integers");
  refused({"Mod", {{2}, {2}}}, "'fmod'");
  refused({"PRelu", {{3}, {2, 3}}}, "cannot be broadcast to the input");
  refused({"ReduceMax", {{2, 3}}, {{"axes", Ints{2}}}}, "axis 2");
  refused({"ReduceMax", {{2, 3}}, {{"axes", Ints{1, -1}}}}, "given twice");
  refused({"ArgMax", {{2, 0}}, {{"axis", int64_t{1}}}}, "no elements");
  refused({"GroupNormalization", {{1, 4, 2}, {4}, {4}}, {{"num_groups", int64_t{3}}}},
          "'num_groups' is 3");
  refused({"DepthToSpace", {{1, 6, 2, 2}}, {{"blocksize", int64_t{2}}}}, "no multiple of 4");
  refused({"DepthToSpace", {{1, 4, 2, 2}}, {{"blocksize", int64_t{0}}}}, "'blocksize' is 0");
  refused({"GridSample", {{1, 2, 3, 4}, {1, 2, 3, 3}}}, "[N, h, w, 2]");
  refused({"LpNormalization", {{2, 3}}, {{"p", int64_t{3}}}}, "must be 1 or 2");
  refused({"Squeeze", {{2}, {2}}, {}, {1}}, "more axes");
  refused({"Resize", {{1, 1, 4, 4}}, {{"mode", std::string("lanczos")}}}, "supported are nearest");
}

TEST(SchemaOperatorsTest, TheDocumentListsEveryOperator) {
  std::ifstream file(DS_SOURCE_DIR "/docs/onnx.md");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const size_t begin = text.find("### Operators");
  ASSERT_NE(begin, std::string::npos);
  const std::string section = text.substr(begin, text.find("###", begin + 3) - begin);
  const std::vector<std::string> words =
      absl::StrSplit(section, absl::ByAnyChar(" ,\n()"), absl::SkipEmpty());
  for (const std::string& op : SupportedOps()) EXPECT_THAT(words, testing::Contains(op));
}

// The extent that ConstantOfShape gets from op(operands), each a constant, or the unknown extent of
// the batch where it is absent. kAny: not known.
int64_t Followed(const std::string& op, const std::vector<std::optional<int64_t>>& operands,
                 Attributes attributes = {}) {
  Builder b("numbers");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  const ValueId batch = b.Op("Slice", {b.Op("Shape", {x}), b.Ints({0}), b.Ints({1}), b.Ints({0})});
  const bool logical = op == "And" || op == "Or" || op == "Xor" || op == "Not";
  std::vector<ValueId> inputs;
  for (const auto& operand : operands) {
    inputs.push_back(operand.has_value() ? b.Ints({*operand}) : batch);
    if (logical) inputs.back() = b.Op("Cast", {inputs.back()}, {{"to", int64_t{9}}});
  }
  const ValueId result = b.Op(op, inputs, std::move(attributes));
  const ValueId number = b.Op("Cast", {result}, {{"to", int64_t{7}}});
  b.Output(b.Op("ConstantOfShape", {b.Op("Reshape", {number, b.Ints({1})})}), "y");
  const auto graph = b.Finish();
  EXPECT_TRUE(graph.ok()) << op << ": " << graph.status();
  return graph.ok() ? graph->value(graph->FindValue("y")).shape->front() : -99;
}

// PyTorch's exporters write "from the first" and "to the last" as the ends of int64.
TEST(SchemaOperatorsTest, FollowsASliceFromTheLeastInteger) {
  Builder b("slice");
  const ValueId x = b.Input("x", DType::kFloat32, {5, 3, 7});
  const ValueId extents =
      b.Op("Slice", {b.Op("Shape", {x}), b.Ints({INT64_MIN}), b.Ints({INT64_MAX}), b.Ints({0})});
  b.Output(b.Op("ConstantOfShape", {extents}), "y");
  const auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  EXPECT_EQ(graph->value(graph->FindValue("y")).shape, (Shape{5, 3, 7}));
}

TEST(SchemaOperatorsTest, FollowsNumbersThroughLogic) {
  const std::optional<int64_t> batch;
  EXPECT_EQ(Followed("Max", {7, 3, 9}), 9);
  EXPECT_EQ(Followed("Min", {7, 3, 9}), 3);
  EXPECT_EQ(Followed("Max", {batch, 3}), kAny);
  EXPECT_EQ(Followed("Min", {batch, 0}), 0) << "an extent is never negative";
  EXPECT_EQ(Followed("Mod", {-7, 4}), 1);
  EXPECT_EQ(Followed("Mod", {7, 4}, {{"fmod", int64_t{1}}}), 3);
  EXPECT_EQ(Followed("Mod", {7, 0}), kAny);
  EXPECT_EQ(Followed("Mod", {batch, 1}), 0);
  EXPECT_EQ(Followed("Less", {2, 3}), 1);
  EXPECT_EQ(Followed("Less", {3, 3}), 0);
  EXPECT_EQ(Followed("LessOrEqual", {3, 3}), 1);
  EXPECT_EQ(Followed("Greater", {3, 2}), 1);
  EXPECT_EQ(Followed("GreaterOrEqual", {2, 3}), 0);
  EXPECT_EQ(Followed("GreaterOrEqual", {batch, 0}), 1);
  EXPECT_EQ(Followed("Less", {batch, -1}), 0);
  EXPECT_EQ(Followed("Less", {batch, 5}), kAny);
  EXPECT_EQ(Followed("And", {1, 0}), 0);
  EXPECT_EQ(Followed("And", {batch, 0}), 0);
  EXPECT_EQ(Followed("And", {batch, 1}), kAny);
  EXPECT_EQ(Followed("Or", {batch, 5}), 1) << "any number but 0 is true";
  EXPECT_EQ(Followed("Xor", {1, 1}), 0);
  EXPECT_EQ(Followed("Not", {0}), 1);
  EXPECT_EQ(Followed("Abs", {-4}), 4);
  EXPECT_EQ(Followed("Neg", {-4}), 4);
}

TEST(SchemaOperatorsTest, FollowsNumbersThroughReductionsAndRanges) {
  Builder b("numbers");
  const ValueId x = b.Input("x", DType::kFloat32, {4, 3, 5});
  const ValueId shape = b.Op("Shape", {x});
  const auto fill = [&](ValueId number, const std::string& name) {
    b.Output(b.Op("ConstantOfShape", {b.Op("Reshape", {number, b.Ints({1})})}), name);
  };
  const Attributes flat = {{"keepdims", int64_t{0}}};
  for (const char* op : {"ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"}) {
    fill(b.Op(op, {shape}, flat), op);
  }
  fill(b.Op("Size", {x}), "Size");
  const auto scalar = [&](int64_t n) {
    return b.Constant("n" + std::to_string(n), Tensor::Scalar<int64_t>(n));
  };
  b.Output(b.Op("ConstantOfShape", {b.Op("Range", {scalar(9), scalar(1), scalar(-3)})}), "Range");
  const Graph graph = b.Finish().value();
  const auto extents = [&](const char* name) { return *graph.value(graph.FindValue(name)).shape; };
  EXPECT_EQ(extents("ReduceProd"), Shape{60});
  EXPECT_EQ(extents("ReduceSum"), Shape{12});
  EXPECT_EQ(extents("ReduceMax"), Shape{5});
  EXPECT_EQ(extents("ReduceMin"), Shape{3});
  EXPECT_EQ(extents("Size"), Shape{60});
  EXPECT_EQ(extents("Range"), (Shape{9, 6, 3}));
}

}  // namespace
}  // namespace ds
