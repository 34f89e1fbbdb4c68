// Squeeze-excite blocks that became one operator (FuseSqueezeExcites) against the same graph with
// the pass off: the same bits, whatever the activations, shapes, instruction set and threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "deploy/engine/runtime/kernels/kernels.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileOptions;
using engine::compile::CompileReport;
using engine::compile::Explain;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr float kIn = 0.02f, kMid = 0.03f, kGate = 1.0f / 255;

CompileOptions Apart() {
  CompileOptions options;
  options.passes.fuse_squeeze_excite = false;
  return options;
}

std::string Told(const Graph& graph, const CompileOptions& options) {
  CompileReport report;
  const auto bytes = CompileModel(graph, options, &report);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return Explain(report);
}

// In every instruction set of this machine, by 1 to 3 threads.
void ExpectSameBits(const Graph& graph, const Shape& shape) {
  const std::vector<Numbers> inputs = {SomeNumbers(shape)};
  const std::vector<Numbers> wanted = RunEngine(graph, inputs, Apart(), "scalar");
  ASSERT_EQ(wanted.size(), 1u);
  for (int isa = 0; isa < engine::kIsaCount; ++isa) {
    if (engine::KernelsFor(static_cast<engine::Isa>(isa)) == nullptr) continue;
    const std::string name = engine::IsaName(static_cast<engine::Isa>(isa));
    for (const int threads : {1, 2, 3}) {
      const std::vector<Numbers> got = RunEngine(graph, inputs, {}, name, threads);
      ASSERT_EQ(got.size(), 1u);
      EXPECT_EQ(got[0].values, wanted[0].values) << name << ", " << threads << " threads";
    }
  }
}

// x * gate(expand(act(reduce(average(x))))), every tensor as codes.
struct Block {
  int64_t channels, reduced;
  std::string activation, gate;
  bool dense = false;
  int64_t bits = 8;
};
ValueId Activate(CodeGraph& g, ValueId x, const std::string& name) {
  if (name != "SiLU") return g.builder().Op(name, {x});
  return g.builder().Op("Mul", {x, g.builder().Op("Sigmoid", {x})});
}
ValueId AddBlock(CodeGraph& g, ValueId x, const Block& b) {
  Builder& builder = g.builder();
  ValueId y = g.Through(builder.Op("GlobalAveragePool", {x}), kIn, 120);
  if (b.dense) y = builder.Op("Flatten", {y});
  const auto product = [&](ValueId of, float scale, int64_t from, int64_t to) {
    return b.dense ? g.Linear(of, scale, from, to)
                   : g.Conv(of, scale, {.inputs = from, .outputs = to, .bits = b.bits});
  };
  y = g.Through(product(y, kIn, b.channels, b.reduced), kMid, 100);
  y = g.Through(Activate(g, y, b.activation), kMid, 10);
  y = g.Through(product(y, kMid, b.reduced, b.channels), kMid, 128);
  y = g.Through(Activate(g, y, b.gate), kGate, 0);
  if (b.dense) {
    const std::vector<int64_t> dims = {0, b.channels, 1, 1};
    y = builder.Op("Reshape", {y, builder.Constant("", Tensor::From<int64_t>({4}, dims))});
  }
  return g.Through(builder.Op("Mul", {x, y}), kIn, 128);
}

TEST(SqueezeExciteTest, ABlockIsOneOperatorOfTheSameBits) {
  const std::vector<Block> blocks = {
      {72, 24, "Relu", "HardSigmoid"},    // MobileNetV3
      {960, 240, "Relu", "HardSigmoid"},  // channels by threads
      {96, 4, "SiLU", "Sigmoid"},         // EfficientNet
      {30, 7, "Relu", "Sigmoid"},         // RegNet
      {301, 33, "HardSwish", "Tanh"},     // no round number of channels
      {1, 1, "Relu", "Sigmoid"},          {64, 16, "Relu", "Sigmoid", true},
      {288, 72, "SiLU", "Sigmoid", true}, {264, 40, "Relu", "HardSigmoid", false, 4},
  };
  int number = 0;
  for (const Block& block : blocks) {
    for (const int64_t batch : {1, 3}) {
      if (block.dense && batch > 1) continue;  // Reshape's first dim is the batch there
      const Shape shape = {batch, block.channels, 7 + number % 4, 5 + number % 3};
      ++number;
      SCOPED_TRACE(::testing::Message() << block.channels << " channels, " << block.activation
                                        << ", batch " << batch << (block.dense ? ", dense" : ""));
      CodeGraph g(number % 2 == 1);
      const Graph graph = g.Finish(AddBlock(g, g.Through(g.Input("x", shape), kIn, 128), block));
      const std::string text = Told(graph, {});
      EXPECT_THAT(text, HasSubstr("squeeze_excite8"));
      EXPECT_THAT(text, HasSubstr("(pool8); stage "));
      EXPECT_THAT(text, Not(HasSubstr(" multiply8 ")));
      EXPECT_THAT(Told(graph, Apart()), Not(HasSubstr("squeeze_excite8")));
      ExpectSameBits(graph, shape);
    }
  }
}

// An image that is read behind its gates, too, and a sum behind them: nothing is written over it.
TEST(SqueezeExciteTest, TheImageMayHaveOtherReaders) {
  const Shape shape = {2, 40, 6, 6};
  CodeGraph g;
  const ValueId x =
      g.Through(g.Conv(g.Through(g.Input("x", shape), kIn, 128), kIn, {40, 40, 3}), kIn, 128);
  const ValueId gated = AddBlock(g, x, {40, 8, "Relu", "Sigmoid"});
  const Graph graph = g.Finish(g.Through(g.builder().Add(gated, x), kIn, 128));
  EXPECT_THAT(Told(graph, {}), HasSubstr("squeeze_excite8"));
  ExpectSameBits(graph, shape);
}

TEST(SqueezeExciteTest, WhatStaysSaysWhy) {
  const Shape shape = {1, 16, 6, 6};
  {  // the gates are an output, too: of two readers
    CodeGraph g;
    const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
    const ValueId mean = g.Through(g.builder().Op("GlobalAveragePool", {x}), kIn, 120);
    const ValueId gate = g.Through(g.Conv(mean, kIn, {16, 16}), kMid, 100);
    const ValueId y = g.Through(g.builder().Op("Mul", {x, gate}), kIn, 128);
    const std::string text = Told(g.Finish(g.Through(g.builder().Add(y, gate), kIn, 128)), {});
    EXPECT_THAT(text, Not(HasSubstr("squeeze_excite8")));
    EXPECT_THAT(text, HasSubstr("stays: its gates are not of a product of 1x1 made for it alone"));
  }
  {  // one product
    CodeGraph g;
    const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
    const ValueId mean = g.Through(g.builder().Op("GlobalAveragePool", {x}), kIn, 120);
    const ValueId gate = g.Through(g.Conv(mean, kIn, {16, 16}), kMid, 100);
    const std::string text =
        Told(g.Finish(g.Through(g.builder().Op("Mul", {x, gate}), kIn, 9)), {});
    EXPECT_THAT(text, HasSubstr("reads is not of a product of 1x1 made for it alone"));
  }
  {  // averages of another image
    CodeGraph g;
    const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
    const ValueId other = g.Through(g.Conv(x, kIn, {16, 16, 3}), kIn, 128);
    ValueId y = g.Through(g.builder().Op("GlobalAveragePool", {other}), kIn, 120);
    y = g.Through(g.Conv(y, kIn, {16, 4}), kMid, 100);
    y = g.Through(g.Conv(y, kMid, {4, 16}), kMid, 100);
    const Graph graph = g.Finish(g.Through(g.builder().Op("Mul", {x, y}), kIn, 9));
    EXPECT_THAT(Told(graph, {}), HasSubstr("reads are not averages of "));
    ExpectSameBits(graph, shape);
  }
}

}  // namespace
}  // namespace ds::testing
