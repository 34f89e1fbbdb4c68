// Biases brought to the exact network's means, as measured.
#include "quant/torch/bias_correction.h"

#include <string>

#include "ATen/Functions.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/affine.h"
#include "quant/torch/quantizer.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/graph_runs.h"
#include "tests/quant/torch/small_net.h"

namespace ds {
namespace {

constexpr int64_t kChannels = 4;

// A convolution of one tap, Relu, and a matrix.
Graph Layers(int64_t batch = kDynamicDim) {
  Builder b("layers", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {batch, 1, 8, 8});
  const ValueId y = b.Relu(b.Conv(x, "conv", {.channels = kChannels, .kernel = 1, .bias = true}));
  b.Output(b.Linear(b.Flatten(y), "head", 3), "logits");
  return b.Finish().value();
}

// `graph`'s weights as they are; its pictures in steps of 1, up or down by luck.
QuantPlan StepsOfOne() {
  QuantPlan plan;
  plan.activations["x"] = *ParamsForRange({.bits = 8, .is_signed = false}, -127.5f, 127.5f);
  return plan;
}

at::Tensor Bias(const Graph& graph, const std::string& op) {
  for (const Node& node : graph.nodes()) {
    if (node.op == op) return ToTorch(*graph.Constant(node.inputs[2])).clone();
  }
  ADD_FAILURE() << "no " << op;
  return {};
}

Graph Corrected(const Graph& graph, const QuantPlan& plan, const InputBatches& batches) {
  const auto biases = MeasuredBiases::Create(graph, SelectForQuantization(graph), batches);
  EXPECT_TRUE(biases.ok()) << biases.status();
  Graph corrected = graph;
  const absl::Status status = biases->Correct(plan, corrected);
  EXPECT_TRUE(status.ok()) << status;
  return corrected;
}

// Means of the rounded network's outputs, [outputs].
at::Tensor RoundedMeans(const Graph& graph, const QuantPlan& plan, const at::Tensor& x) {
  return Computed(graph, Rounded(x, plan.activations.at("x"))).mean(0);
}

// All pictures are 0.3 and some: what rounding takes away is no chance, and each layer gives it
// back.
TEST(MeasuredBiases, WhatRoundingDoesToAllSamplesIsTakenOut) {
  const Graph graph = Layers();
  const at::Tensor x = Images(12, 1, 8) * 0.02 + 0.3;
  const QuantPlan plan = StepsOfOne();
  const Graph corrected = Corrected(graph, plan, {{x.narrow(0, 0, 5)}, {x.narrow(0, 5, 7)}});
  const at::Tensor exact = Computed(graph, x).mean(0);
  const double before = (RoundedMeans(graph, plan, x) - exact).abs().max().item<double>();
  const double after = (RoundedMeans(corrected, plan, x) - exact).abs().max().item<double>();
  EXPECT_GT(before, 0.04);
  EXPECT_LT(after, before / 50);
}

// A layer sees what those before it have become: the second one has nothing left to mend.
TEST(MeasuredBiases, LayersAreCorrectedFromTheFront) {
  const Graph graph = Layers();
  const at::Tensor x = at::full({8, 1, 8, 8}, 0.3f);
  const Graph corrected = Corrected(graph, StepsOfOne(), {{x}});
  EXPECT_GT((Bias(corrected, "Conv") - Bias(graph, "Conv")).abs().max().item<double>(), 0.05);
  EXPECT_LT((Bias(corrected, "Gemm") - Bias(graph, "Gemm")).abs().max().item<double>(), 1e-5);
}

// Noise of many steps is rounded up as often as down: the means of a few samples are off by chance.
TEST(MeasuredBiases, ChanceStays) {
  const Graph graph = Layers();
  const at::Tensor x = Images(8, 1, 8) * 20;
  const Graph corrected = Corrected(graph, StepsOfOne(), {{x}});
  const at::Tensor exact = ToTorch(*graph.Constant(graph.nodes()[0].inputs[1])).abs().flatten();
  const at::Tensor moved = (Bias(corrected, "Conv") - Bias(graph, "Conv")).abs();
  // A deviation of 0.29 steps over 512 values.
  EXPECT_LT((moved / exact).max().item<double>(), 3 * 0.29 / 22.6);
  EXPECT_GT((moved == 0).sum().item<int64_t>(), 0);
}

TEST(MeasuredBiases, OneSampleSaysNothing) {
  const Graph graph = Layers(1);
  const at::Tensor one = at::full({1, 1, 8, 8}, 0.3f);
  const Graph corrected = Corrected(graph, StepsOfOne(), {{one}, {one}});
  EXPECT_TRUE(at::equal(Bias(corrected, "Conv"), Bias(graph, "Conv")));
}

}  // namespace
}  // namespace ds
