// Rewrites for integers leave what a network computes as it is: the same outputs in the executor
// before and after, to fp32's rounding; and what would change them is left alone.
#include <map>
#include <string>

#include "ATen/Functions.h"
#include "graph/builder.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "gtest/gtest.h"
#include "quant/selection.h"
#include "quant/torch/quantizer.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/graph_runs.h"
#include "tests/quant/torch/small_net.h"

namespace ds {
namespace {

using Pass = absl::Status (*)(Graph&);

// Norms as training leaves them: no two channels alike.
void Unlike(Graph& graph) {
  at::manual_seed(kSeed);
  for (auto& [id, initializer] : graph.mutable_initializers()) {
    const std::string& name = graph.value(id).name;
    if (name.find("bn") == std::string::npos) continue;
    for (float& element : initializer.data.mutable_span<float>()) {
      element = 0.5f + at::rand({1}).item<float>();
    }
  }
}

// The ops that are left, after it was checked that the output is as before.
std::map<std::string, int> After(Graph graph, std::initializer_list<Pass> passes) {
  EXPECT_TRUE(InferShapes(graph).ok());
  Unlike(graph);
  const at::Tensor x = Images(2, 8, 7), before = Computed(graph, x);
  for (const Pass pass : passes) EXPECT_TRUE(pass(graph).ok());
  const at::Tensor after = Computed(graph, x);
  // Sums of at most 150 products, rounded once each.
  const double bound = 150 * 0x1p-24 * before.abs().max().item<double>();
  EXPECT_LT((before - after).abs().max().item<double>(), bound);
  return Ops(graph);
}

constexpr std::initializer_list<Pass> kMerging = {FoldBatchNorms, FoldChannelAffine,
                                                  NormsToConvolutions, MergeParallelConvs};

ValueId Input(Builder& b) { return b.Input("x", DType::kFloat32, {kDynamicDim, 8, 7, 7}); }

TEST(SplitGatedActivations, SwishesBecomeProductsOfTheirGates) {
  Builder b("swishes", kSeed);
  const ValueId x = Input(b);
  b.Output(b.Op("SiLU", {b.Op("HardSwish", {x})}), "y");
  EXPECT_EQ(After(b.Finish().value(), {SplitGatedActivations}),
            (std::map<std::string, int>{{"HardSigmoid", 1}, {"Sigmoid", 1}, {"Mul", 2}}));
}

TEST(FoldChannelAffine, ConstantsBehindAConvolutionGoIntoIt) {
  Builder b("affine", kSeed);
  ValueId y = b.Conv(Input(b), "conv", {.channels = 4, .kernel = 3, .bias = false});
  y = b.Mul(b.Constant("scales", Tensor::From<float>({4, 1, 1}, {1.5f, -2, 0.5f, 3})), y);
  y = b.Add(y, b.Constant("shifts", Tensor::From<float>({1, 4, 1, 1}, {1, 2, 3, -4})));
  y = b.Op("Sub", {y, b.Scalar(0.75f)});
  b.Output(b.Op("Div", {y, b.Scalar(-2.0f)}), "y");
  EXPECT_EQ(After(b.Finish().value(), {FoldChannelAffine}),
            (std::map<std::string, int>{{"Conv", 1}}));
}

TEST(FoldChannelAffine, WhatIsNoConstantOfAChannelStays) {
  Builder b("not affine", kSeed);
  const auto conv = [&b](ValueId x, const char* name) {
    return b.Conv(x, name, {.channels = 7, .kernel = 1});
  };
  const ValueId x = Input(b);
  // Along the width, whose extent is that of the channels; what has two readers; a constant minus
  // the result.
  const ValueId first =
      b.Mul(conv(x, "a"), b.Constant("widths", Tensor::From<float>({7}, {1, 2, 3, 4, 5, 6, 7})));
  const ValueId twice = conv(first, "b");
  const ValueId second = b.Mul(b.Mul(twice, b.Scalar(2.0f)), twice);
  b.Output(b.Op("Sub", {b.Scalar(1.0f), conv(second, "c")}), "y");
  EXPECT_EQ(After(b.Finish().value(), {FoldChannelAffine}),
            (std::map<std::string, int>{{"Conv", 3}, {"Mul", 3}, {"Sub", 1}}));
}

// clip(x + 3, 0, 6) / 6 and its product with x, as Paddle writes them, in both orders; by other
// numbers, or read twice, they are none.
TEST(FuseActivations, WrittenOutHardSwishesAreFound) {
  Builder b("swishes", kSeed);
  const ValueId x = Input(b);
  const auto clip = [&b](ValueId v, float shift) {
    return b.Op("Clip", {b.Add(v, b.Scalar(shift)), b.Scalar(0), b.Scalar(6)});
  };
  ValueId y = b.Op("Div", {b.Mul(x, clip(x, 3)), b.Scalar(6)});
  y = b.Mul(b.Op("Div", {clip(y, 3), b.Scalar(6)}), y);
  y = b.Mul(b.Scalar(1.0f / 6), b.Mul(clip(y, 3), y));
  y = b.Add(y, b.Op("Div", {clip(y, 3), b.Scalar(6)}));
  b.Output(b.Op("Div", {b.Mul(y, clip(y, 2)), b.Scalar(6)}), "y");
  const ValueId gate = clip(y, 3);
  b.Output(b.Op("Div", {b.Mul(gate, gate), b.Scalar(6)}), "z");
  EXPECT_EQ(
      After(b.Finish().value(), {FuseActivations}),
      (std::map<std::string, int>{
          {"HardSwish", 3}, {"HardSigmoid", 1}, {"Add", 3}, {"Clip", 2}, {"Mul", 2}, {"Div", 2}}));
}

// A number that multiplies goes into whatever reads it; one that is added stays before padding.
TEST(FoldAffineForward, NumbersBeforeConvolutionsGoIntoThem) {
  Builder b("before", kSeed);
  const auto line = [&b](ValueId v) {
    return b.Add(b.Mul(b.Scalar(-1.5f), b.Relu(v)), b.Scalar(0.75f));
  };
  ValueId y = b.Conv(line(Input(b)), "point", {.channels = 6, .kernel = 1, .bias = true});
  y = line(y);
  const ValueId apart = b.Conv(y, "padded", {.channels = 6, .kernel = 3, .groups = 3});
  y = b.Add(apart, b.Conv(y, "too", {.channels = 6, .kernel = 1}));
  y = b.Conv(b.Mul(b.Relu(y), b.Scalar(3)), "scaled", {.channels = 4, .kernel = 3});
  b.Output(y, "y");
  EXPECT_EQ(After(b.Finish().value(), {FoldAffineForward}),
            (std::map<std::string, int>{{"Conv", 4}, {"Relu", 3}, {"Add", 2}}));
}

TEST(FoldAffineForward, WhatOthersReadOrIsNoNumberStays) {
  Builder b("apart", kSeed);
  const ValueId x = b.Mul(Input(b), b.Scalar(2));
  const ValueId wide =
      b.Mul(b.Relu(x), b.Constant("widths", Tensor::From<float>({7}, {1, 2, 3, 4, 5, 6, 7})));
  b.Output(b.Conv(wide, "a", {.channels = 2}), "y");
  b.Output(b.Add(b.Conv(x, "b", {.channels = 8}), x), "z");
  const ValueId shown = b.Mul(b.Relu(x), b.Scalar(2));
  b.Output(b.Conv(shown, "c", {.channels = 2}), "w");
  b.Output(shown, "v");
  EXPECT_EQ(After(b.Finish().value(), {FoldAffineForward}),
            (std::map<std::string, int>{{"Conv", 3}, {"Mul", 3}, {"Relu", 2}, {"Add", 1}}));
}

TEST(MergeParallelConvs, ARepVggBlockIsOneConvolution) {
  for (const int64_t groups : {1, 2, 8}) {
    Builder b("block", kSeed);
    const ValueId x = Input(b);
    const auto branch = [&](const char* name, int64_t kernel) {
      return b.BatchNorm(
          b.Conv(x, name, {.channels = 8, .kernel = kernel, .groups = groups, .bias = false}),
          std::string("bn") + name);
    };
    const ValueId sum = b.Add(b.Add(branch("three", 3), branch("one", 1)), b.BatchNorm(x, "bn"));
    b.Output(b.Relu(sum), "y");
    EXPECT_EQ(After(b.Finish().value(), kMerging),
              (std::map<std::string, int>{{"Conv", 1}, {"Relu", 1}}))
        << groups << " groups";
  }
}

TEST(MergeParallelConvs, ConvolutionsThatDoNotLieInOneAnotherStay) {
  Builder b("apart", kSeed);
  const ValueId x = Input(b);
  // Centres differ; another input; a depthwise one beside one of two groups of which it is no part
  // would be merged, so strides and readers are what keeps the rest apart.
  const ValueId wide = b.Conv(x, "wide", {.channels = 8, .kernel = 3, .groups = 2});
  const ValueId off = b.Op("Pad", {b.Conv(x, "off", {.channels = 8, .kernel = 2, .padding = 0}),
                                   b.Ints({0, 0, 0, 0, 0, 0, 1, 1})});
  const ValueId other = b.Conv(off, "other", {.channels = 8, .kernel = 1});
  const ValueId read_twice = b.Conv(x, "twice", {.channels = 8, .kernel = 3});
  const ValueId sums = b.Add(b.Add(wide, other), read_twice);
  b.Output(b.Add(sums, b.Mul(read_twice, wide)), "y");
  EXPECT_EQ(After(b.Finish().value(), {MergeParallelConvs}),
            (std::map<std::string, int>{{"Conv", 4}, {"Pad", 1}, {"Add", 3}, {"Mul", 1}}));
}

TEST(MergeParallelConvs, ConvolutionsOfDifferentValuesStay) {
  Builder b("different", kSeed);
  const ValueId x = Input(b);
  const ValueId sum =
      b.Add(b.Conv(x, "one", {.channels = 8}), b.Conv(b.Relu(x), "two", {.channels = 8}));
  b.Output(sum, "y");
  EXPECT_EQ(After(b.Finish().value(), {MergeParallelConvs}),
            (std::map<std::string, int>{{"Conv", 2}, {"Relu", 1}, {"Add", 1}}));
}

TEST(NormsToConvolutions, ANormBehindAConcatenationIsADepthwiseConvolution) {
  Builder b("dense", kSeed);
  const ValueId x = Input(b);
  const ValueId both = b.Concat({x, b.Conv(x, "conv", {.channels = 4, .kernel = 1})}, 1);
  b.Output(b.Conv(b.Relu(b.BatchNorm(both, "bn")), "next", {.channels = 2, .kernel = 1}), "y");
  EXPECT_EQ(After(b.Finish().value(), kMerging),
            (std::map<std::string, int>{{"Conv", 3}, {"Concat", 1}, {"Relu", 1}}));
}

// A block with all that joins integers: hard-swish, squeeze-and-excitation, SiLU, concatenation and
// sums with constants.
Graph GatedNet() {
  Builder b("gated", kSeed);
  const ValueId x = Input(b);
  ValueId y = b.Op("HardSwish", {b.Conv(x, "stem", {.channels = 8, .kernel = 3})});
  ValueId gate = b.Conv(b.GlobalAveragePool(y), "squeeze", {.channels = 4, .kernel = 1});
  gate = b.Op("HardSigmoid", {b.Conv(b.Relu(gate), "excite", {.channels = 8, .kernel = 1})},
              {{"alpha", 0.25f}, {"beta", 0.5f}});
  y = b.Mul(y, gate);
  const ValueId z = b.Op("SiLU", {b.Conv(y, "more", {.channels = 8, .kernel = 1})});
  y = b.Concat({y, b.Add(z, b.Constant("shift", Tensor::From<float>({7}, {1, -1, 2, 0, 1, 3, 0})))},
               1);
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(y)), "head", 3), "y");
  return b.Finish().value();
}

TEST(Selection, GatesConcatenationsAndConstantsHaveIntegers) {
  const auto model = Quantizer(GatedNet(), {}).calibrate(Batches({Images(16, 8, 7)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  for (const Node& node : model->graph.nodes()) {
    if (node.op == "Gemm" || node.op == "Flatten") continue;  // logits; moves codes
    const std::string& result = model->graph.value(node.outputs[0]).name;
    const auto readers = model->graph.Consumers(node.outputs[0]);
    const bool clamped = readers.size() == 1 && model->graph.nodes()[readers[0]].op == "Relu";
    EXPECT_EQ(model->plan.activations.contains(result), !clamped) << node.op << " " << result;
    if (node.op != "HardSigmoid" && node.op != "Sigmoid") continue;
    const QuantParams& params = model->plan.activations.at(result);
    EXPECT_EQ(params.zero_points[0], 0);
    EXPECT_FLOAT_EQ(params.scales[0], 1.0f / 255);
  }
  ASSERT_EQ(model->plan.constants.size(), 1u);
  EXPECT_EQ(model->plan.constants.begin()->first, "shift");
}

// A plan for training has no constants, and names layers as the model has them.
TEST(Selection, APlanForTrainingLeavesLayersAndConstantsAlone) {
  const auto model = Quantizer(GatedNet(), {.for_training = true})
                         .calibrate(Batches({Images(16, 8, 7)}))
                         .convert();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_TRUE(model->plan.constants.empty());
  EXPECT_TRUE(model->plan.weights.contains("stem.weight"));
}

TEST(Selection, AGateThatNothingMultipliesStaysFloat) {
  Builder b("last gate", kSeed);
  const ValueId y = b.Relu(b.Conv(Input(b), "conv", {.channels = 8}));
  const ValueId gated = b.Mul(y, b.Op("Sigmoid", {y}));
  b.Output(gated, "y");
  const Graph graph = b.Finish().value();
  for (const ActivationSite& site : SelectForQuantization(graph, true).activations) {
    EXPECT_NE(site.value, gated);
  }
}

TEST(Selection, GatesBetweenFloatsStayFloat) {
  Builder b("floats", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 6});
  // Nothing behind the product multiplies integers.
  b.Output(b.Mul(b.Linear(x, "head", 4), b.Op("Sigmoid", {b.Linear(x, "gate", 4)})), "y");
  const Graph graph = b.Finish().value();
  const QuantSelection selection = SelectForQuantization(graph, true);
  EXPECT_EQ(selection.weights.size(), 2u);
  ASSERT_EQ(selection.activations.size(), 1u);
  EXPECT_EQ(selection.activations[0].value, graph.inputs()[0]);
}

}  // namespace
}  // namespace ds
