// Products with matrices of 4 bits whose results are floats: the weights stay of 4 bits in the
// file, whatever their scales are for, and the numbers are those of the graph's own weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/tensor/int_tensor.h"
#include "deploy/engine/compile/compile.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileOptions;
using engine::compile::CompileReport;
using ::testing::Contains;
using ::testing::Field;
using ::testing::Not;

constexpr int64_t kRows = 5, kDepth = 40, kColumns = 35;

struct Case {
  const char* name;
  int64_t block = 0;     // 0: a scale a column
  bool turned = false;   // the weight is [columns, depth]
  bool codes = false;    // the input is
  bool shifted = false;  // uint4 with a zero point of 8 a block
  int64_t most = 7;      // the greatest code
};

class FourBitsTest : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr float kScale = 4.0f / 255;

  static int64_t BlocksOf(const Case& c) {
    return c.block == 0 ? 1 : (kDepth + c.block - 1) / c.block;
  }
  int64_t Code(int64_t k, int64_t n) const {
    const int64_t most = GetParam().most;
    return (k * 7 + n * 5 + k * n) % (2 * most + 1) - most;
  }
  static float Scale(int64_t block, int64_t n) {
    return 0.01f + 0.003f * static_cast<float>((block * 3 + n) % 5);
  }

  // x [rows, depth] times the weight, plus a bias.
  Graph Make() const {
    const Case& c = GetParam();
    CodeGraph graph;
    Builder& b = graph.builder();
    ValueId x = graph.Input("x", {kRows, kDepth});
    if (c.codes) x = graph.Through(x, kScale, 128);
    const int64_t blocks = BlocksOf(c);
    std::vector<int32_t> codes(kDepth * kColumns);
    std::vector<float> scales(blocks * kColumns);
    for (int64_t n = 0; n < kColumns; ++n) {
      for (int64_t k = 0; k < kDepth; ++k) {
        codes[c.turned ? n * kDepth + k : k * kColumns + n] =
            static_cast<int32_t>(Code(k, n)) + (c.shifted ? 8 : 0);
      }
      for (int64_t i = 0; i < blocks; ++i)
        scales[c.turned ? n * blocks + i : i * kColumns + n] = Scale(i, n);
    }
    const Shape shape = c.turned ? Shape{kColumns, kDepth} : Shape{kDepth, kColumns};
    Shape of_scales = c.turned ? Shape{kColumns, blocks} : Shape{blocks, kColumns};
    if (c.block == 0) of_scales = {kColumns};
    const DType type = c.most > 7 ? DType::kInt8 : c.shifted ? DType::kUInt4 : DType::kInt4;
    const auto constant = [&](DType dtype, const Shape& of, const std::vector<int32_t>& values) {
      auto tensor = IntTensor(dtype, of, values);
      EXPECT_TRUE(tensor.ok()) << tensor.status();
      return b.Constant("", *std::move(tensor));
    };
    std::vector<ValueId> inputs = {constant(type, shape, codes),
                                   b.Constant("", Tensor::From<float>(of_scales, scales))};
    if (c.shifted)
      inputs.push_back(constant(type, of_scales, std::vector<int32_t>(scales.size(), 8)));
    Attributes attributes = {{"axis", int64_t{c.turned ? 0 : 1}}};
    if (c.block > 0) attributes = {{"axis", int64_t{c.turned ? 1 : 0}}, {"block_size", c.block}};
    const ValueId weight = b.Op("DequantizeLinear", inputs, attributes);
    std::vector<float> bias(kColumns);
    for (int64_t n = 0; n < kColumns; ++n) bias[n] = 0.1f * static_cast<float>(n) - 1;
    const ValueId shift = b.Constant("", Tensor::From<float>({kColumns}, bias));
    return graph.Finish(
        b.Op("Gemm", {x, weight, shift}, {{"transB", int64_t{c.turned ? 1 : 0}}}, "product"));
  }
};

TEST_P(FourBitsTest, StayFourBitsAndGiveWhatTheGraphSays) {
  const Case& c = GetParam();
  const Graph graph = Make();
  const Numbers input = SomeNumbers({kRows, kDepth});
  const auto results = RunEngine(graph, {input});
  ASSERT_EQ(results.size(), 1u);
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t n = 0; n < kColumns; ++n) {
      double sum = 0.1f * static_cast<float>(n) - 1, magnitude = std::abs(sum);
      for (int64_t k = 0; k < kDepth; ++k) {
        double x = input.values[r * kDepth + k];
        if (c.codes) {
          const double code = std::nearbyint(static_cast<float>(x) / kScale) + 128;
          x = (std::min(std::max(code, 0.0), 255.0) - 128) * static_cast<double>(kScale);
        }
        const double product =
            x * static_cast<double>(Code(k, n)) * Scale(c.block == 0 ? 0 : k / c.block, n);
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(results[0].values[r * kColumns + n], sum, magnitude * kDepth * 0x1p-24);
    }
  }
  CompileReport report;
  ASSERT_TRUE(CompileModel(graph, {}, &report).ok());
  const auto four = Contains(Field(&engine::compile::OperatorStory::kind, std::string("dense4")));
  if (c.most > 7) {
    EXPECT_THAT(report.operators, Not(four));
    return;
  }
  EXPECT_THAT(report.operators, four);
  CompileOptions bare;
  bare.passes.pack_four_bits = false;
  CompileReport other;
  ASSERT_TRUE(CompileModel(graph, bare, &other).ok());
  EXPECT_THAT(other.operators, Not(four));
  EXPECT_LT(report.weight_bytes, other.weight_bytes);
}

INSTANTIATE_TEST_SUITE_P(All, FourBitsTest,
                         ::testing::Values(Case{"FloatsByBlocks", 16},
                                           Case{"FloatsByBlocksTurned", 16, true},
                                           Case{"FloatsByColumns", 0},
                                           Case{"CodesByBlocks", 16, false, true},
                                           Case{"CodesByBlocksTurned", 32, true, true},
                                           Case{"CodesByColumns", 0, false, true},
                                           Case{"CodesByColumnsTurned", 0, true, true},
                                           Case{"OneBlockOfAll", 64, false, true},
                                           Case{"ZeroPoints", 16, false, false, true},
                                           Case{"EightBits", 0, false, true, false, 100}),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace ds::testing
