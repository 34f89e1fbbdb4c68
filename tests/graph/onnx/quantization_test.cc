// QuantizeLinear, DequantizeLinear and small integers in and out of ONNX; compact files.
#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/onnx/onnx.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

// Conv with a quantised input and a weight of `stored` type, cast to int8 where that is smaller.
Graph Quantised(DType stored, int64_t block = 0) {
  Builder b("net");
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4, 5, 5});
  const ValueId step = b.Constant("step", Tensor::Scalar(0.1f));
  const ValueId zero = b.Constant("zero", Tensor::Scalar<uint8_t>(3));
  const ValueId codes = b.Op("QuantizeLinear", {x, step, zero}, {}, "quantize");
  const ValueId real = b.Op("DequantizeLinear", {codes, step, zero}, {}, "dequantize");
  ValueId w = b.Constant("w", Tensor(stored, {3, 4, 1, 1}));
  if (BitWidth(stored) < 8) w = b.Op("Cast", {w}, {{"to", OnnxTypeNumber(DType::kInt8)}}, "cast");
  Attributes attributes = {{"axis", int64_t{block > 0}}};
  if (block > 0) attributes["block_size"] = block;
  const Shape shape = block > 0 ? Shape{3, 4 / block, 1, 1} : Shape{3};
  const ValueId scales = b.Constant("scales", Tensor(DType::kFloat32, shape));
  w = b.Op("DequantizeLinear", {w, scales}, attributes, "weight");
  b.Output(b.Op("Conv", {real, w}, {}, "conv"), "y");
  absl::StatusOr<Graph> graph = b.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

absl::StatusOr<Graph> ThereAndBack(const Graph& graph, const OnnxExportOptions& options) {
  absl::StatusOr<std::string> bytes = ExportOnnxToBytes(graph, options);
  if (!bytes.ok()) return bytes.status();
  return ImportOnnxFromBytes(*bytes, "memory");
}

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

TEST(OnnxQuantizationTest, EveryOpsetKeepsWhatItHas) {
  for (int opset = 13; opset <= 28; ++opset) {
    for (const bool compact : {false, true}) {
      for (const DType stored : {DType::kInt8, DType::kInt4, DType::kInt2}) {
        const int needed = stored == DType::kInt2 ? 25 : stored == DType::kInt4 ? 21 : 13;
        const Graph before = Quantised(stored);
        const auto after = ThereAndBack(before, {.opset = opset, .compact = compact});
        ASSERT_TRUE(after.ok()) << after.status();
        int written = 0;
        ASSERT_TRUE(ExportOnnxToBytes(before, {.opset = opset}, &written).ok());
        EXPECT_EQ(written, std::max(opset, needed));
        EXPECT_EQ(Ops(*after), Ops(before)) << opset;
        for (const auto& [id, initializer] : after->initializers()) {
          EXPECT_FALSE(initializer.trainable) << after->value(id).name;
        }
        EXPECT_EQ(after->value(after->inputs()[0]).name, "x");
        EXPECT_EQ(after->value(after->outputs()[0]).name, "y");
        if (compact) continue;
        EXPECT_EQ(after->Constant(after->FindValue("w"))->dtype(), stored);
      }
    }
  }
}

TEST(OnnxQuantizationTest, BlocksNeedOpset21) {
  const Graph graph = Quantised(DType::kInt8, 2);
  int written = 0;
  ASSERT_TRUE(ExportOnnxToBytes(graph, {.opset = 20}, &written).ok());
  EXPECT_EQ(written, 21);
  const auto after = ThereAndBack(graph, {.opset = 20});
  ASSERT_TRUE(after.ok()) << after.status();
  const Node& weight = after->nodes()[after->Producer(after->nodes().back().inputs[1])];
  EXPECT_EQ(weight.GetInt("block_size", 0), 2);
}

TEST(OnnxQuantizationTest, CompactFilesAreSmallerAndTheSameEveryTime) {
  const Graph graph = Quantised(DType::kInt8);
  const std::string full = *ExportOnnxToBytes(graph);
  const std::string compact = *ExportOnnxToBytes(graph, {.compact = true});
  EXPECT_LT(compact.size(), full.size() * 2 / 3);
  EXPECT_EQ(compact, *ExportOnnxToBytes(graph, {.compact = true}));
  EXPECT_THAT(compact, testing::Not(HasSubstr("quantize.out")));
}

TEST(OnnxQuantizationTest, ShortNamesSpareThoseOfInputsAndOutputs) {
  Builder b("net");
  // The names that short ones would begin with, on both sides.
  ValueId x = b.Input("a", DType::kFloat32, {2});
  for (int i = 0; i < 60; ++i) x = b.Relu(x);
  b.Output(x, "b");
  const auto after = ThereAndBack(*b.Finish(), {.compact = true});
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->nodes().size(), 60u);
  EXPECT_EQ(after->value(after->inputs()[0]).name, "a");
  EXPECT_EQ(after->value(after->outputs()[0]).name, "b");
}

}  // namespace
}  // namespace ds
