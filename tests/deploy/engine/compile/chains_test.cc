// Convolutions that became one operator (FuseChains) against the same graph with the pass off: the
// same bits, whatever the shapes, the instruction set and the number of threads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
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
using Conv = CodeGraph::ConvShape;

constexpr float kIn = 0.02f, kMid = 0.05f;

CompileOptions Chained() { return {.chain_bytes = 0}; }
CompileOptions Apart() {
  CompileOptions options;
  options.passes.fuse_chains = false;
  return options;
}

CompileReport Report(const Graph& graph, const CompileOptions& options) {
  CompileReport report;
  const auto bytes = CompileModel(graph, options, &report);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return report;
}

int Chains(const CompileReport& report) {
  int count = 0;
  for (const auto& op : report.operators) count += op.kind == "conv_chain8";
  return count;
}

// In every instruction set of this machine, by 1 to 3 threads.
void ExpectSameBits(const Graph& graph, const Shape& shape) {
  const std::vector<Numbers> inputs = {SomeNumbers(shape)};
  const std::vector<Numbers> wanted = RunEngine(graph, inputs, Apart(), "scalar");
  ASSERT_EQ(wanted.size(), 1u);
  for (int isa = 0; isa < engine::kIsaCount; ++isa) {
    if (engine::KernelsFor(static_cast<engine::Isa>(isa)) == nullptr) continue;
    const std::string name = engine::IsaName(static_cast<engine::Isa>(isa));
    EXPECT_EQ(RunEngine(graph, inputs, Apart(), name)[0].values, wanted[0].values) << name;
    for (const int threads : {1, 2, 3}) {
      const std::vector<Numbers> got = RunEngine(graph, inputs, Chained(), name, threads);
      ASSERT_EQ(got.size(), 1u);
      EXPECT_EQ(got[0].values, wanted[0].values) << name << ", " << threads << " threads";
    }
  }
}

// An inverted residual of a graph: 1x1 and an activation, depthwise and one, 1x1.
struct Residual {
  int64_t inputs, middle, outputs, kernel, stride, dilation, bits;
  bool adds;
};
ValueId AddResidual(CodeGraph& g, ValueId x, const Residual& r) {
  ValueId y = g.Conv(x, kIn, {.inputs = r.inputs, .outputs = r.middle, .bits = r.bits});
  y = g.Through(g.builder().Relu6(y), kMid, 0);
  y = g.Conv(y, kMid, {r.middle, r.middle, r.kernel, r.stride, r.middle, r.dilation});
  y = g.Through(g.builder().Op("HardSwish", {g.Through(y, kMid, 120)}), kMid, 9);
  y = g.Through(g.Conv(y, kMid, {.inputs = r.middle, .outputs = r.outputs}), kIn, 128);
  return r.adds ? g.Through(g.builder().Add(y, x), kIn, 128) : y;
}

TEST(ChainsTest, AnInvertedResidualIsOneOperatorOfTheSameBits) {
  std::mt19937 random(1);
  const auto upto = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random() % static_cast<uint32_t>(most - least + 1));
  };
  for (int i = 0; i < 24; ++i) {
    const bool adds = i % 3 == 0;
    Residual r = {.inputs = upto(1, 40),
                  .middle = upto(2, 70),
                  .kernel = 1 + 2 * upto(0, 2),
                  .stride = adds ? 1 : upto(1, 3),
                  .dilation = upto(1, 2),
                  .bits = i % 4 == 1 ? 4 : 8,
                  .adds = adds};
    r.outputs = adds ? r.inputs : upto(1, 40);
    const Shape shape = {upto(1, 2), r.inputs, upto(1, 40), upto(1, 30)};
    SCOPED_TRACE(::testing::Message()
                 << "case " << i << ": [" << shape[0] << ", " << shape[1] << ", " << shape[2]
                 << ", " << shape[3] << "], " << r.middle << " channels, kernel " << r.kernel
                 << ", stride " << r.stride << ", dilation " << r.dilation);
    CodeGraph g(i % 2 == 1);
    const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
    const Graph graph = g.Finish(AddResidual(g, x, r));
    EXPECT_EQ(Chains(Report(graph, Chained())), 1) << Explain(Report(graph, Chained()));
    EXPECT_EQ(Chains(Report(graph, Apart())), 0);
    ExpectSameBits(graph, shape);
  }
}

// Wider than a band holds more than a row of, and higher than one band.
TEST(ChainsTest, BandsOfOneRowAndOfMany) {
  for (const Shape& shape : {Shape{1, 3, 9, 700}, Shape{1, 3, 300, 5}}) {
    CodeGraph g;
    const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
    const Graph graph = g.Finish(AddResidual(g, x, {3, 96, 5, 5, 2, 1, 8, false}));
    EXPECT_EQ(Chains(Report(graph, Chained())), 1);
    ExpectSameBits(graph, shape);
  }
}

// As many as a chain has and one more, 3x3 and strided ones and groups among them: two chains.
TEST(ChainsTest, LongOnesAreCut) {
  const Shape shape = {2, 3, 61, 47};
  CodeGraph g;
  ValueId y = g.Through(g.Input("x", shape), kIn, 128);
  const std::vector<Conv> convs = {{3, 32, 3, 2},     {32, 32, 3, 1, 32}, {32, 36, 3, 1},
                                   {36, 64, 3, 2, 4}, {64, 64, 5, 2, 64}, {64, 24, 3, 1, 1, 2},
                                   {24, 8, 1}};
  float scale = kIn;
  for (const Conv& conv : convs) {
    y = g.Through(g.Conv(y, scale, conv), kMid, 100);
    scale = kMid;
  }
  const Graph graph = g.Finish(y);
  const CompileReport report = Report(graph, Chained());
  EXPECT_EQ(Chains(report), 1);
  EXPECT_THAT(Explain(report), HasSubstr("stays: a chain has 6 convolutions at most"));
  EXPECT_LT(report.plans[0].arena_bytes, Report(graph, Apart()).plans[0].arena_bytes / 4);
  ExpectSameBits(graph, shape);
}

// By default a chain is made where it makes the arena smaller by more than bands take.
TEST(ChainsTest, AreMadeWhereTheySaveMemory) {
  const Shape shape = {1, 8, 96, 96};
  CodeGraph g;
  const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
  const Graph wide = g.Finish(AddResidual(g, x, {8, 64, 8, 3, 2, 1, 8, false}));
  const CompileReport report = Report(wide, {}), apart = Report(wide, Apart());
  EXPECT_EQ(Chains(report), 1);
  EXPECT_LE(report.plans[0].arena_bytes + (128 << 10), apart.plans[0].arena_bytes);

  // The same behind a pool, whose input and output take as much as the middle did.
  CodeGraph other;
  ValueId y = other.Through(other.Input("x", {1, 64, 192, 192}), kIn, 128);
  y = other.Through(other.builder().Op("MaxPool", {y},
                                       {{"kernel_shape", std::vector<int64_t>{2, 2}},
                                        {"strides", std::vector<int64_t>{2, 2}}}),
                    kIn, 128);
  const Graph pooled = other.Finish(AddResidual(other, y, {64, 64, 8, 3, 2, 1, 8, false}));
  const CompileReport without = Report(pooled, {});
  EXPECT_EQ(Chains(without), 0);
  EXPECT_THAT(Explain(without), HasSubstr("would not save the memory that bands take"));
}

// What others read, too, and what has fewer bytes than asked for, goes through memory.
TEST(ChainsTest, WhatStaysSaysWhy) {
  const Shape shape = {1, 8, 12, 12};
  CodeGraph g;
  const ValueId x = g.Through(g.Input("x", shape), kIn, 128);
  const ValueId y = g.Through(g.Conv(x, kIn, {8, 8, 3}), kMid, 100);
  const ValueId z = g.Through(g.Conv(y, kMid, {8, 8, 3}), kMid, 100);
  const Graph graph = g.Finish(g.Through(g.builder().Add(y, z), kMid, 100));
  const CompileReport report = Report(graph, Chained());
  EXPECT_EQ(Chains(report), 0);
  EXPECT_THAT(Explain(report), HasSubstr("has 2 readers"));

  CodeGraph small;
  const ValueId s = small.Through(small.Input("x", shape), kIn, 128);
  const Graph chain = small.Finish(AddResidual(small, s, {8, 16, 8, 3, 1, 1, 8, false}));
  const std::string text = Explain(Report(chain, {.chain_bytes = 12 * 12 * 16 + 1}));
  EXPECT_THAT(text, Not(HasSubstr("conv_chain8")));
  EXPECT_THAT(
      text,
      HasSubstr("stays: its input of 2304 bytes goes through memory; a chain begins at 2305"));
  const std::string told = Explain(Report(chain, {.chain_bytes = 12 * 12 * 16}));
  EXPECT_THAT(told, HasSubstr("conv_chain8"));
  EXPECT_THAT(told, HasSubstr("(depthwise8)"));
}

// More padding than keeps the image's extents.
TEST(ChainsTest, AnImageThatGrowsGoesThroughMemory) {
  const Shape shape = {1, 4, 6, 6};
  CodeGraph g;
  ValueId y = g.Through(g.Input("x", shape), kIn, 128);
  y = g.Through(g.Conv(y, kIn, {4, 4, 3}), kMid, 100);
  const std::vector<int8_t> codes(2 * 4 * 9, -5);
  const ValueId weight = g.builder().Op(
      "DequantizeLinear", {g.builder().Constant("", Tensor::From<int8_t>({2, 4, 3, 3}, codes)),
                           g.builder().Constant("", Tensor::Scalar(0.01f))});
  y = g.builder().Op("Conv", {y, weight}, {{"pads", std::vector<int64_t>{2, 2, 2, 2}}});
  const Graph graph = g.Finish(g.Through(y, kMid, 100));
  const CompileReport report = Report(graph, Chained());
  EXPECT_EQ(Chains(report), 0);
  EXPECT_THAT(Explain(report), HasSubstr("would be larger than what it is made from"));
  ExpectSameBits(graph, shape);
}

}  // namespace
}  // namespace ds::testing
