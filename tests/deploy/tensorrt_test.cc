#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/file/file.h"
#include "deploy/tensorrt_exporter.h"
#include "gmock/gmock.h"
#include "graph/onnx/onnx.h"
#include "gtest/gtest.h"
#include "tests/deploy/qdq_testing.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr QdqOptions kTensorRT = {.profile = QdqProfile::kTensorRT};

QuantParams Signed(float scale, int32_t zero_point = 0, int bits = 8) {
  return Codes(scale, zero_point, {bits, true, false});
}

// relu(conv2(relu(conv1(x))) + relu(conv1(x))), then a pool and a classifier.
Graph Residual() {
  Builder b("residual", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 6, 6});
  const ValueId first = b.Op("Relu", {b.Conv(x, "c1", {.channels = 4, .bias = true})}, {}, "r1");
  const ValueId second = b.Conv(first, "c2", {.channels = 4, .bias = true});
  const ValueId sum = b.Op("Relu", {b.Op("Add", {second, first}, {}, "sum")}, {}, "r2");
  const ValueId flat = b.Flatten(b.Op("GlobalAveragePool", {sum}, {}, "pool"));
  b.Output(b.Linear(flat, "fc", 5), "y");
  return *b.Finish();
}

QuantPlan ResidualPlan(int bits = 8) {
  QuantPlan plan;
  for (const char* name : {"x", "r1.out", "c2.out", "r2.out", "pool.out", "Flatten_0.out"}) {
    plan.activations[name] = Signed(0.02f);
  }
  plan.weights = {{"c1.weight", Weight(4, bits)},
                  {"c2.weight", Weight(4, bits)},
                  {"fc.weight", Weight(5, bits)}};
  return plan;
}

Graph ForTensorRT(const Graph& graph, const QuantPlan& plan, QdqReport* report = nullptr) {
  return Insert(graph, plan, report, kTensorRT);
}

std::string Fates(const Graph& graph) { return LintText(LintForTensorRT(graph)); }

TEST(TensorRTTest, TheIdentityBranchIsQuantisedAndTheConvolutionBesideItIsNot) {
  QdqReport report;
  const Graph out = ForTensorRT(Residual(), ResidualPlan(), &report);
  const Node& sum = Maker(out, "sum.out");
  EXPECT_EQ(Maker(out, sum.inputs[0]).op, "Conv");  // computed together with the Add
  EXPECT_EQ(Maker(out, sum.inputs[1]).op, "DequantizeLinear");
  // The clamps are left to TensorRT, the pair comes behind them.
  EXPECT_THAT(
      Chain(out, "r2.out"),
      ElementsAre("DequantizeLinear", "QuantizeLinear", "Relu", "Add", "Conv", "DequantizeLinear",
                  "QuantizeLinear", "Relu", "Conv", "DequantizeLinear", "QuantizeLinear"));
  for (const NodeFate& fate : report.nodes) EXPECT_TRUE(fate.quantised) << fate.node << fate.reason;
  EXPECT_THAT(Fates(out), HasSubstr(" 0 in float, 0 refused"));
}

TEST(TensorRTTest, OfTwoConvolutionsTheLaterOneIsComputedWithTheAddition) {
  for (const bool main_first : {true, false}) {
    Builder b("down", 1);
    const ValueId x = b.Input("x", DType::kFloat32, {1, 3, 6, 6});
    const ValueId shortcut = b.Conv(x, "short", {.channels = 4, .kernel = 1});
    const ValueId main = b.Conv(x, "main", {.channels = 4});
    const std::vector<ValueId> operands =
        main_first ? std::vector{main, shortcut} : std::vector{shortcut, main};
    const ValueId sum = b.Op("Relu", {b.Op("Add", operands, {}, "sum")}, {}, "r");
    b.Output(b.Conv(sum, "next", {.channels = 2}), "y");
    QuantPlan plan;
    for (const char* name : {"x", "short.out", "main.out", "r.out", "y"}) {
      plan.activations[name] = Signed(0.02f);
    }
    plan.weights = {
        {"short.weight", Weight(4)}, {"main.weight", Weight(4)}, {"next.weight", Weight(2)}};
    const Graph out = ForTensorRT(*b.Finish(), plan);
    const Node& add = Maker(out, "sum.out");
    EXPECT_EQ(Maker(out, add.inputs[main_first ? 0 : 1]).name, "main");
    EXPECT_EQ(Maker(out, add.inputs[main_first ? 1 : 0]).op, "DequantizeLinear");
    // What leaves the network is not rounded: nothing reads it in INT8.
    EXPECT_EQ(Maker(out, "y").op, "Conv");
  }
}

TEST(TensorRTTest, EveryPairIsSignedSymmetricAndConstantAndBiasesAreFloat) {
  for (const int bits : {8, 4, 2}) {
    const Graph out = ForTensorRT(Residual(), ResidualPlan(bits));
    int pairs = 0;
    for (const Node& node : out.nodes()) {
      EXPECT_NE(node.op, "Cast");
      if (node.op == "Conv" || node.op == "Gemm") {
        EXPECT_EQ(out.Constant(node.inputs[2])->dtype(), DType::kFloat32) << node.name;
      }
      if (node.op != "QuantizeLinear" && node.op != "DequantizeLinear") continue;
      ++pairs;
      ASSERT_NE(out.Constant(node.inputs[1]), nullptr);
      for (const float scale : out.Constant(node.inputs[1])->span<float>()) EXPECT_GT(scale, 0);
      if (node.inputs.size() < 3) continue;
      ASSERT_EQ(out.Constant(node.inputs[2])->dtype(), DType::kInt8);
      EXPECT_EQ(out.Constant(node.inputs[2])->span<int8_t>()[0], 0);
    }
    EXPECT_GE(pairs, bits == 8 ? 12 : 7);
    const auto stored = [&out](const char* layer) {
      const Node& node = Maker(out, out.FindValue(layer));
      return out.value(Maker(out, node.inputs[1]).inputs[0]).dtype;
    };
    EXPECT_EQ(stored("c2.out"), DType::kInt8);
    EXPECT_EQ(stored("y"), bits == 8 ? DType::kInt8 : DType::kInt4);
  }
}

TEST(TensorRTTest, FourBitMatricesAreWeightOnlyInGroups) {
  Builder b("mlp", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 64});
  b.Output(b.Linear(b.Op("Relu", {b.Linear(x, "up", 96)}, {}, "r"), "down", 5), "y");
  const Graph graph = *b.Finish();
  QuantPlan plan;
  for (const char* name : {"x", "r.out"}) plan.activations[name] = Signed(0.02f);
  plan.weights = {{"up.weight", Weight(96 * 2, 4, 0.01f, 1)}, {"down.weight", Weight(5)}};
  plan.weights["up.weight"].group = 32;
  const Graph out = ForTensorRT(graph, plan);
  const Node& up = Maker(out, "up.out");
  // Its input is multiplied as it is.
  EXPECT_EQ(up.inputs[0], out.inputs()[0]);
  const Node& weight = Maker(out, up.inputs[1]);
  EXPECT_EQ(weight.GetInt("block_size", 0), 32);
  EXPECT_EQ(*out.value(weight.inputs[1]).shape, Shape({96, 2}));
  EXPECT_THAT(Fates(out), HasSubstr("1 with INT4 weights"));
}

TEST(TensorRTTest, NothingIsRoundedForAnOperatorThatRunsInFloat) {
  Builder b("swish", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 3, 6, 6});
  const ValueId c = b.Conv(x, "c", {.channels = 4});
  b.Output(b.Op("HardSwish", {c}, {}, "act"), "y");
  QuantPlan plan;
  plan.activations = {{"x", Signed(0.02f)}, {"c.out", Signed(0.02f)}};
  plan.weights = {{"c.weight", Weight(4)}};
  QdqReport report;
  const Graph out = ForTensorRT(*b.Finish(), plan, &report);
  EXPECT_THAT(Chain(out, "y"),
              ElementsAre("HardSwish", "Conv", "DequantizeLinear", "QuantizeLinear"));
  EXPECT_EQ(Why(report, "c"), "integer");
  EXPECT_THAT(Why(report, "act"), HasSubstr("HardSwish in float"));
}

TEST(TensorRTTest, WhatThePlanLeavesInFloatHasNoPairsAndNeitherHasTheAdditionBehindIt) {
  QuantPlan plan = ResidualPlan();
  plan.left_in_float["c2"] = "too sensitive";
  QdqReport report;
  const Graph out = ForTensorRT(Residual(), plan, &report);
  EXPECT_EQ(Why(report, "c1"), "integer");
  EXPECT_EQ(Why(report, "c2"), "too sensitive");
  EXPECT_NE(Why(report, "sum"), "integer");
  for (const ValueId id : Maker(out, "sum.out").inputs) {
    EXPECT_NE(Maker(out, id).op, "DequantizeLinear");
  }
  EXPECT_EQ(Why(report, "fc"), "integer");
}

TEST(TensorRTTest, PlansThatAreNotTensorRTsAreRefused) {
  const auto refusal = [](auto change) {
    QuantPlan plan = ResidualPlan();
    change(plan);
    const absl::Status status = InsertQdq(Residual(), plan, kTensorRT).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(1); }), HasSubstr("unsigned"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Signed(1, 3); }),
              HasSubstr("zero point is 3"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Signed(1, 0, 4); }), HasSubstr("4 bits"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c1.weight"].zero_points[2] = 1; }),
              HasSubstr("'c1.weight'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c1.weight"] = Weight(3, 8, 1, 1); }),
              HasSubstr("axis 1 instead of 0"));
  const auto grouped = [](int bits, int64_t group) {
    return [=](auto& p) {
      p.weights["fc.weight"] = Weight(5 * ((4 + group - 1) / group), bits, 1, 1);
      p.weights["fc.weight"].group = group;
    };
  };
  EXPECT_THAT(refusal(grouped(8, 2)), HasSubstr("only Gemm and MatMul of 4 bits"));
  EXPECT_THAT(refusal(grouped(4, 3)), HasSubstr("groups of 3 do not divide its 4 inputs"));
}

TEST(TensorRTTest, TheFileComesWithARecipeAndALint) {
  const TempFolder folder;
  const std::string path = folder.path() + "/it's a model.onnx";
  const auto result =
      TensorRTExporter({.batches = {2, 4, 16}}).Export(Residual(), ResidualPlan(4), path);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->opset, 21);
  EXPECT_EQ(static_cast<uintmax_t>(result->bytes), std::filesystem::file_size(path));
  const auto again = ImportOnnx(path);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(LintText(LintForTensorRT(*again)), *ReadFile(result->lint_path));
  const std::string recipe = *ReadFile(result->recipe_path);
  for (const char* part : {"--stronglyTyped", "--minShapes='x:2x3x6x6'", "--optShapes='x:4x3x6x6'",
                           "--maxShapes='x:16x3x6x6'", "it'\\''s a model.engine"}) {
    EXPECT_THAT(recipe, HasSubstr(part));
  }
  const auto bad =
      TensorRTExporter({.batches = {4, 2, 16}}).Export(Residual(), ResidualPlan(), path);
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TensorRTTest, AFixedShapeNeedsNoFlagAndAnUnknownExtentIsAskedFor) {
  Builder b("tokens", 1);
  b.Output(b.Relu(b.Input("tokens", DType::kFloat32, {kDynamicDim, kDynamicDim, 8})), "y");
  const std::string recipe = *TrtRecipe(*b.Finish(), "m.onnx", {});
  EXPECT_THAT(recipe, HasSubstr("${INPUT0_AXIS1:?"));
  EXPECT_THAT(recipe, HasSubstr("--minShapes='tokens:1x'\"$INPUT0_AXIS1\"'x8'"));
  Builder fixed("fixed", 1);
  fixed.Output(fixed.Relu(fixed.Input("x", DType::kFloat32, {2, 8})), "y");
  EXPECT_THAT(*TrtRecipe(*fixed.Finish(), "m.onnx", {}), Not(HasSubstr("Shapes")));
}

// Without a GPU the builder cannot be tested, but how it is called can.
TEST(TensorRTTest, TheBuilderIsRunWhereItIsInstalled) {
  const TempFolder folder;
  const std::string path = folder.path() + "/m.onnx";
  const auto result = TensorRTExporter().Export(Residual(), ResidualPlan(), path);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::string before = std::getenv("PATH");
  const std::string log = folder.path() + "/log";
  const auto with_builder = [&](const std::string& body) {
    std::ofstream(folder.path() + "/trtexec") << "#!/bin/sh\n" << body;
    chmod((folder.path() + "/trtexec").c_str(), 0755);
    setenv("PATH", (folder.path() + ":/usr/bin:/bin").c_str(), 1);
    const TrtBuild build = RunTrtRecipe(result->recipe_path, log);
    setenv("PATH", before.c_str(), 1);
    return build;
  };
  const TrtBuild good = with_builder("for a in \"$@\"; do echo \"[$a]\"; done\n");
  EXPECT_TRUE(good.ran && good.succeeded) << good.message;
  const std::string said = *ReadFile(log);
  EXPECT_THAT(said, HasSubstr("[--onnx=m.onnx]"));
  EXPECT_THAT(said, HasSubstr("[--minShapes=x:1x3x6x6]"));
  const TrtBuild bad = with_builder("echo cannot >&2; exit 3\n");
  EXPECT_TRUE(bad.ran && !bad.succeeded);
  EXPECT_THAT(bad.message, HasSubstr(log));
  EXPECT_THAT(*ReadFile(log), HasSubstr("cannot"));

  std::filesystem::remove(folder.path() + "/trtexec");
  setenv("PATH", folder.path().c_str(), 1);
  const TrtBuild none = RunTrtRecipe(result->recipe_path, log);
  setenv("PATH", before.c_str(), 1);
  EXPECT_FALSE(none.ran);
  EXPECT_THAT(none.message, HasSubstr("not run"));
}

}  // namespace
}  // namespace ds
