// Shapes and types of QuantizeLinear and DequantizeLinear, and that passes leave them be.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "graph/builder.h"
#include "graph/passes/passes.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
constexpr int64_t kAny = kDynamicDim;

struct Operand {
  DType dtype = DType::kFloat32;
  Shape shape;
};

// op(x, scale[, zero point]); the dtype and shape of its result.
absl::StatusOr<Operand> Infer(const std::string& op, const Operand& x, const Operand& scale,
                              const std::optional<Operand>& zero_point = {},
                              Attributes attributes = {}) {
  Builder b("case");
  std::vector<ValueId> inputs = {b.Input("x", x.dtype, x.shape),
                                 b.Input("s", scale.dtype, scale.shape)};
  if (zero_point) inputs.push_back(b.Input("z", zero_point->dtype, zero_point->shape));
  b.Output(b.Op(op, inputs, std::move(attributes), "node"), "y");
  absl::StatusOr<Graph> graph = b.Finish();
  if (!graph.ok()) return graph.status();
  const Value& y = graph->value(graph->FindValue("y"));
  return Operand{y.dtype, *y.shape};
}

constexpr DType kReal = DType::kFloat32;

TEST(QuantizationSchemaTest, CodesAreOfTheZeroPointsType) {
  const Shape shape = {kAny, 4, 6};
  auto y = Infer("QuantizeLinear", {kReal, shape}, {kReal, {}});
  ASSERT_TRUE(y.ok()) << y.status();
  EXPECT_EQ(y->dtype, DType::kUInt8);
  EXPECT_EQ(y->shape, shape);
  for (const DType dtype : {DType::kInt2, DType::kUInt2, DType::kInt4, DType::kUInt4, DType::kInt8,
                            DType::kUInt8, DType::kInt16, DType::kUInt16}) {
    y = Infer("QuantizeLinear", {kReal, shape}, {kReal, {4}}, Operand{dtype, {4}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->dtype, dtype);
    y = Infer("DequantizeLinear", {dtype, shape}, {DType::kFloat16, {4}}, Operand{dtype, {4}});
    ASSERT_TRUE(y.ok()) << y.status();
    EXPECT_EQ(y->dtype, DType::kFloat16);
  }
  EXPECT_TRUE(
      Infer("DequantizeLinear", {DType::kInt32, {4}}, {kReal, {4}}, {}, {{"axis", int64_t{0}}})
          .ok());
}

TEST(QuantizationSchemaTest, ScalesFitTheAxisOrTheBlocks) {
  const Operand x{kReal, {2, 7, 5}};
  const auto fits = [&](Shape scale, int64_t axis, int64_t block = 0) {
    return Infer("QuantizeLinear", x, {kReal, std::move(scale)}, {},
                 {{"axis", axis}, {"block_size", block}})
        .ok();
  };
  EXPECT_TRUE(fits({}, 1));
  EXPECT_TRUE(fits({1}, 1));
  EXPECT_TRUE(fits({}, 99)) << "a scale for all has no axis";
  EXPECT_TRUE(fits({7}, 1));
  EXPECT_TRUE(fits({5}, -1));
  EXPECT_TRUE(fits({kAny}, 0));
  EXPECT_FALSE(fits({7}, 0));
  EXPECT_FALSE(fits({7}, 3));
  EXPECT_FALSE(fits({7}, -4));
  EXPECT_FALSE(fits({1, 7}, 1));
  EXPECT_TRUE(fits({2, 4, 5}, 1, 2));
  EXPECT_TRUE(fits({2, 1, 5}, 1, 7));
  EXPECT_FALSE(fits({2, 3, 5}, 1, 2));
  EXPECT_FALSE(fits({7}, 1, 2));
  EXPECT_FALSE(fits({}, 1, 2));
  EXPECT_FALSE(fits({2, 4, 5}, 1, -2));
  EXPECT_TRUE(Infer("QuantizeLinear", {kReal, {kAny, 8}}, {kReal, {kAny, 2}}, {},
                    {{"block_size", int64_t{4}}})
                  .ok());
}

TEST(QuantizationSchemaTest, WhatDoesNotFitIsNamed) {
  const auto error = [](const absl::StatusOr<Operand>& y) {
    EXPECT_FALSE(y.ok());
    return std::string(y.status().message());
  };
  const Operand x{kReal, {2, 4}}, codes{DType::kInt8, {2, 4}}, one{kReal, {}};
  EXPECT_THAT(error(Infer("QuantizeLinear", codes, one)), HasSubstr("int8"));
  EXPECT_THAT(error(Infer("QuantizeLinear", x, {DType::kInt32, {}})),
              HasSubstr("the scale is int32"));
  EXPECT_THAT(error(Infer("QuantizeLinear", x, one, Operand{kReal, {}})), HasSubstr("zero point"));
  EXPECT_THAT(error(Infer("QuantizeLinear", x, one, Operand{DType::kInt32, {}})),
              HasSubstr("int32"));
  EXPECT_THAT(error(Infer("QuantizeLinear", x, {kReal, {4}}, Operand{DType::kInt8, {}})),
              HasSubstr("zero point has shape []"));
  EXPECT_THAT(error(Infer("DequantizeLinear", x, one)), HasSubstr("float32"));
  EXPECT_THAT(error(Infer("DequantizeLinear", {DType::kInt64, {2}}, one)), HasSubstr("int64"));
  EXPECT_THAT(error(Infer("DequantizeLinear", codes, one, Operand{DType::kUInt8, {}})),
              HasSubstr("one type"));
}

// A weight stays the integers it is, through the Cast and the product of scales before it.
TEST(QuantizationSchemaTest, PassesKeepIntegerWeights) {
  Builder b("net");
  const ValueId x = b.Input("x", kReal, {1, 2, 4, 4});
  const ValueId w =
      b.Op("Cast", {b.Constant("w", Tensor(DType::kInt4, {3, 2, 1, 1}))}, {{"to", int64_t{3}}});
  const ValueId s = b.Constant("s", Tensor::From<float>({3}, {1, 2, 3}));
  const Attributes axis = {{"axis", int64_t{0}}};
  const ValueId scale = b.Op("Mul", {s, b.Constant("t", Tensor::Scalar(2.0f))});
  const ValueId bias =
      b.Op("DequantizeLinear", {b.Constant("b", Tensor(DType::kInt32, {3})), scale}, axis);
  b.Output(b.Op("Conv", {x, b.Op("DequantizeLinear", {w, s}, axis), bias}), "y");
  Graph graph = *b.Finish();
  ASSERT_TRUE(Simplify(graph).ok());
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  // Only the product is computed beforehand.
  EXPECT_THAT(ops, testing::ElementsAre("Cast", "DequantizeLinear", "DequantizeLinear", "Conv"));
  EXPECT_EQ(graph.Constant(graph.FindValue("w"))->dtype(), DType::kInt4);
}

}  // namespace
}  // namespace ds
