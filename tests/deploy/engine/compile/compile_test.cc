#include "deploy/engine/compile/compile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "deploy/engine/runtime/kernels/kernels.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileOptions;
using engine::compile::CompileReport;
using ::testing::HasSubstr;

constexpr float kIn = 0.02f, kMid = 0.05f, kOut = 0.03f;

struct Case {
  const char* name;
  Shape input;
  // From the dequantised input (scale kIn) to what is dequantised last (scale kOut).
  std::function<ValueId(CodeGraph&, ValueId)> make;
};

ValueId HardSwishInParts(CodeGraph& graph, ValueId x) {
  const ValueId gate =
      graph.Through(graph.builder().Op("HardSigmoid", {x}, {{"alpha", 1.0f / 6}}), 1.0f / 255, 0);
  return graph.Through(graph.builder().Mul(x, gate), kOut, 40);
}

std::vector<Case> Cases() {
  using Conv = CodeGraph::ConvShape;
  return {
      {"Stem",
       {1, 3, 17, 13},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.builder().Relu(g.Conv(x, kIn, Conv{3, 11, 3, 2})), kOut, 7);
       }},
      {"Pointwise",
       {2, 5, 3, 7},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.builder().Relu6(g.Conv(x, kIn, Conv{5, 33}, false)), kOut, 0);
       }},
      {"Depthwise",
       {1, 19, 9, 8},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.Conv(x, kIn, Conv{19, 19, 5, 2, 19}), kOut, 128);
       }},
      {"Groups",
       {1, 8, 7, 7},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.Conv(x, kIn, Conv{8, 12, 3, 1, 4, 2}), kOut, 101);
       }},
      {"Residual",
       {1, 7, 6, 5},
       [](CodeGraph& g, ValueId x) {
         const ValueId y = g.Through(g.Conv(x, kIn, Conv{7, 7, 3}), kMid, 130);
         return g.Through(g.builder().Relu(g.builder().Add(y, x)), kOut, 11);
       }},
      {"ResidualOfTwo",
       {1, 7, 6, 5},
       [](CodeGraph& g, ValueId x) {
         const ValueId y = g.Through(g.Conv(x, kIn, Conv{7, 9, 3, 2}), kMid, 130);
         const ValueId z = g.Through(g.Conv(x, kIn, Conv{7, 9, 1, 2}), 0.07f, 99);
         return g.Through(g.builder().Add(y, z), kOut, 120);
       }},
      {"HardSwish",
       {1, 4, 5, 5},
       [](CodeGraph& g, ValueId x) {
         const ValueId y = g.Through(g.Conv(x, kIn, Conv{4, 6, 3}), kMid, 120);
         return HardSwishInParts(g, y);
       }},
      {"SqueezeExcite",
       {2, 6, 5, 4},
       [](CodeGraph& g, ValueId x) {
         const ValueId mean = g.Through(g.builder().Op("GlobalAveragePool", {x}), kIn, 128);
         const ValueId gate = g.Through(
             g.builder().Op("Sigmoid", {g.Through(g.Conv(mean, kIn, Conv{6, 6}), kMid, 128)}),
             1.0f / 255, 0);
         return g.Through(g.builder().Mul(gate, x), kOut, 128);
       }},
      {"Concat",
       {1, 5, 4, 6},
       [](CodeGraph& g, ValueId x) {
         const ValueId y = g.Through(g.Conv(x, kIn, Conv{5, 6, 3}), kMid, 130);
         const ValueId z = g.Through(g.Conv(x, kIn, Conv{5, 3, 1}), kOut, 110);
         return g.Through(g.builder().Op("Concat", {y, z}, {{"axis", int64_t{1}}}), kOut, 110);
       }},
      {"Pools",
       {1, 6, 9, 9},
       [](CodeGraph& g, ValueId x) {
         const ValueId y = g.builder().Op("MaxPool", {x},
                                          {{"kernel_shape", std::vector<int64_t>{3, 3}},
                                           {"strides", std::vector<int64_t>{2, 2}},
                                           {"pads", std::vector<int64_t>{1, 1, 1, 1}}});
         return g.Through(g.builder().Op("AveragePool", {g.Through(y, kIn, 128)},
                                         {{"kernel_shape", std::vector<int64_t>{2, 2}},
                                          {"pads", std::vector<int64_t>{0, 0, 1, 1}}}),
                          kOut, 100);
       }},
      {"FourBits",
       {1, 6, 5, 5},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.Conv(x, kIn, Conv{.inputs = 6, .outputs = 35, .kernel = 3, .bits = 4}),
                          kOut, 120);
       }},
      {"LayerNorm",
       {2, 12, 35},
       [](CodeGraph& g, ValueId x) {
         return g.Through(g.builder().LayerNorm(x, "norm"), kOut, 120);
       }},
      // A slice of a transposition, transposed again; and one that another undoes.
      {"MovesOfMoves",
       {2, 12, 3, 4},
       [](CodeGraph& g, ValueId x) {
         const auto turn = [&](ValueId v, std::vector<int64_t> order) {
           return g.builder().Op("Transpose", {v}, {{"perm", std::move(order)}});
         };
         const ValueId second = g.builder().Constant("", Tensor::Scalar<int64_t>(2));
         ValueId y = turn(x, {2, 1, 3, 0});
         y = turn(g.builder().Op("Gather", {y, second}, {{"axis", int64_t{0}}}), {2, 0, 1});
         y = turn(g.builder().Reshape(y, {6, 4, 4}), {2, 0, 1});
         y = turn(g.builder().Reshape(y, {4, 6, 4}), {1, 2, 0});
         return g.Through(y, kOut, 120);
       }},
      {"Classifier",
       {3, 4, 3, 3},
       [](CodeGraph& g, ValueId x) {
         const ValueId flat = g.Through(g.builder().Op("Flatten", {x}), kIn, 128);
         return g.Through(g.Linear(flat, kIn, 36, 10), kOut, 60);
       }},
  };
}

class CompileTest : public ::testing::TestWithParam<bool> {
 protected:
  static Graph Make(const Case& test) {
    CodeGraph graph(GetParam());
    const ValueId x = graph.Through(graph.Input("input", test.input), kIn, 128);
    return graph.Finish(test.make(graph, x));
  }
};

// A code at most, since a kernel rounds to the codes between; most are equal.
TEST_P(CompileTest, IsWithinACodeOfPlainArithmetic) {
  for (const Case& test : Cases()) {
    SCOPED_TRACE(test.name);
    const Graph graph = Make(test);
    const Numbers input = SomeNumbers(test.input);
    const auto wanted = Evaluate(graph, {input});
    const auto got = RunEngine(graph, {input});
    ASSERT_EQ(got.size(), 1u);
    EXPECT_LE(Distance(got[0], wanted[0], kOut), 1.01);
    int unequal = 0;
    for (size_t i = 0; i < got[0].values.size(); ++i) {
      unequal += std::abs(got[0].values[i] - wanted[0].values[i]) > kOut / 2;
    }
    EXPECT_LE(unequal, 1 + static_cast<int>(got[0].values.size() / 50));
    // Not all at one end.
    const auto [low, high] = std::minmax_element(got[0].values.begin(), got[0].values.end());
    EXPECT_GT(*high - *low, 20 * kOut);
  }
}

// A file is for all of them unless options say which.
TEST_P(CompileTest, InstructionSetsAndThreadsGiveTheSameBits) {
  for (const Case& test : Cases()) {
    SCOPED_TRACE(test.name);
    const Graph graph = Make(test);
    const Numbers input = SomeNumbers(test.input);
    const auto scalar = RunEngine(graph, {input}, {}, "scalar");
    ASSERT_EQ(scalar.size(), 1u);
    for (int i = 0; i < engine::kIsaCount; ++i) {
      const auto isa = static_cast<engine::Isa>(i);
      if (engine::KernelsFor(isa) == nullptr) continue;  // of another processor
      const auto found = RunEngine(graph, {input}, {}, engine::IsaName(isa), 2);
      ASSERT_EQ(found.size(), 1u) << engine::IsaName(isa);
      EXPECT_EQ(scalar[0].values, found[0].values) << engine::IsaName(isa);
    }
  }
}

// Each pass off, and all of them: within a code, and the same bits where passes only fuse.
TEST_P(CompileTest, PassesChangeNothing) {
  using engine::compile::PassSwitches;
  const std::vector<std::pair<const char*, bool PassSwitches::*>> exact = {
      {"fuse_tables", &PassSwitches::fuse_tables},
      {"fuse_sums", &PassSwitches::fuse_sums},
      {"fuse_activations", &PassSwitches::fuse_activations},
      {"pack_four_bits", &PassSwitches::pack_four_bits},
      {"join_without_copies", &PassSwitches::join_without_copies},
      {"join_moves", &PassSwitches::join_moves},
      {"fuse_norms", &PassSwitches::fuse_norms},
      {"reuse_in_place", &PassSwitches::reuse_in_place}};
  for (const Case& test : Cases()) {
    SCOPED_TRACE(test.name);
    const Graph graph = Make(test);
    const Numbers input = SomeNumbers(test.input);
    const auto all = RunEngine(graph, {input});
    ASSERT_EQ(all.size(), 1u);
    CompileOptions none;
    for (const auto& [name, pass] : exact) {
      SCOPED_TRACE(name);
      CompileOptions options;
      options.passes.*pass = none.passes.*pass = false;
      const auto without = RunEngine(graph, {input}, options);
      ASSERT_EQ(without.size(), 1u);
      EXPECT_EQ(without[0].values, all[0].values);
    }
    const auto bare = RunEngine(graph, {input}, none);
    ASSERT_EQ(bare.size(), 1u);
    EXPECT_EQ(bare[0].values, all[0].values);
    CompileOptions no_chains;
    no_chains.passes.fold_chains = false;
    const auto apart = RunEngine(graph, {input}, no_chains);
    ASSERT_EQ(apart.size(), 1u);
    EXPECT_LE(Distance(apart[0], all[0], kOut), 1.01);
  }
}

INSTANTIATE_TEST_SUITE_P(Codes, CompileTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "int8" : "uint8"; });

CompileReport ReportOf(const char* name, const CompileOptions& options = {}) {
  CompileReport report;
  for (const Case& test : Cases()) {
    if (std::string(test.name) != name) continue;
    CodeGraph graph;
    const ValueId x = graph.Through(graph.Input("input", test.input), kIn, 128);
    const auto bytes = CompileModel(graph.Finish(test.make(graph, x)), options, &report);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
  }
  return report;
}

std::vector<std::string> KindsOf(const CompileReport& report) {
  std::vector<std::string> kinds;
  for (const auto& op : report.operators) kinds.push_back(op.kind);
  return kinds;
}

TEST(CompileReportTest, SaysWhatWasFused) {
  using ::testing::ElementsAre;
  EXPECT_THAT(KindsOf(ReportOf("Residual")), ElementsAre("quantise", "conv8", "dequantise"));
  EXPECT_THAT(KindsOf(ReportOf("HardSwish")), ElementsAre("quantise", "conv8", "dequantise"));
  EXPECT_THAT(KindsOf(ReportOf("Concat")), ElementsAre("quantise", "conv8", "conv8", "dequantise"));
  EXPECT_THAT(KindsOf(ReportOf("FourBits")), ElementsAre("quantise", "conv4", "dequantise"));
  EXPECT_THAT(KindsOf(ReportOf("LayerNorm")), ElementsAre("quantise", "layer_norm8", "dequantise"));
  EXPECT_THAT(KindsOf(ReportOf("MovesOfMoves")),
              ElementsAre("quantise", "move", "move", "lookup8", "dequantise"));
  const CompileReport swish = ReportOf("HardSwish");
  EXPECT_THAT(swish.operators[1].story, HasSubstr("HardSigmoid"));
  EXPECT_THAT(Explain(swish), HasSubstr("HardSigmoid"));
  CompileOptions bare;
  bare.passes.fuse_sums = bare.passes.fuse_tables = false;
  EXPECT_THAT(KindsOf(ReportOf("Residual", bare)),
              ElementsAre("quantise", "conv8", "add8", "dequantise"));
}

TEST(CompileReportTest, TheArenaIsAtItsBoundAndBelowOneBufferATensor) {
  const CompileReport report = ReportOf("SqueezeExcite");
  ASSERT_EQ(report.plans.size(), 1u);
  EXPECT_EQ(report.plans[0].arena_bytes, report.plans[0].arena_bound_bytes);
  EXPECT_LT(report.plans[0].arena_bytes, report.plans[0].unplanned_bytes);
}

TEST(CompileRefusalTest, ADetectorIsExportedWithoutItsNonMaximumSuppression) {
  Builder builder("detector");
  const ValueId boxes = builder.Input("boxes", DType::kFloat32, {1, 9, 4});
  const ValueId scores = builder.Input("scores", DType::kFloat32, {1, 2, 9});
  builder.Output(builder.Op("NonMaxSuppression", {boxes, scores}, {}, "suppress"), "kept");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto bytes = CompileModel(*graph);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(bytes.status().message()),
              AllOf(HasSubstr("'suppress' (NonMaxSuppression)"),
                    HasSubstr("ds_run --task detect suppresses")));
}

TEST(CompileRefusalTest, NamesTheNodeAndAMend) {
  Builder builder("refused");
  const ValueId x = builder.Input("x", DType::kFloat32, {1, 1, 4, 4});
  const ValueId rois = builder.Input("rois", DType::kFloat32, {2, 4});
  const ValueId which = builder.Input("which", DType::kInt64, {2});
  builder.Output(builder.Op("RoiAlign", {x, rois, which}, {}, "align"), "y");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto bytes = CompileModel(*graph);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("'align' (RoiAlign)"));
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("replace it"));
}

// What no kernel takes for its size is refused here and not on a device.
TEST(CompileRefusalTest, WhatTheRuntimeRefuses) {
  Builder builder("deep");
  const int64_t depth = 3 * 65536;
  const ValueId x = builder.Input("x", DType::kFloat32, {1, depth});
  const ValueId w = builder.Constant("w", Tensor(DType::kFloat32, {depth, 1}));
  builder.Output(builder.Op("MatMul", {x, w}, {}, "long sum"), "y");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto bytes = CompileModel(*graph);
  ASSERT_FALSE(bytes.ok());
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("long sum"));
}

TEST(CompileRefusalTest, OpenExtentsMustBeGiven) {
  Builder builder("open");
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 3, kDynamicDim, 8});
  builder.Output(builder.Relu(x), "y");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto bytes = CompileModel(*graph);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("--input-shape x"));
}

TEST(CompileRefusalTest, TheBatchIsWhatOptionsSay) {
  Builder builder("batch");
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, 3, 2, 2});
  builder.Output(builder.Relu(x), "y");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Numbers input = SomeNumbers({4, 3, 2, 2});
  const auto got = RunEngine(*graph, {input}, {.batches = {4}});
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].shape, (Shape{4, 3, 2, 2}));
  EXPECT_EQ(CompileModel(*graph, {.batches = {0}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds::testing
