#include "prune/channel_gates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "graph/builder.h"
#include "graph/describe.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "gtest/gtest.h"
#include "tests/prune/zoo_graph.h"

namespace ds {
namespace {

std::vector<ChannelGate> Gate(Graph& graph, const ChannelGateOptions& options = {}) {
  auto gates = AddChannelGates(graph, options);
  EXPECT_TRUE(gates.ok()) << gates.status();
  return *std::move(gates);
}

std::vector<std::string> Gated(const std::vector<ChannelGate>& gates) {
  std::vector<std::string> names;
  for (const ChannelGate& gate : gates) names.push_back(gate.conv);
  return names;
}

int Count(const Graph& graph, const std::string& op) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(),
                                        [&op](const Node& node) { return node.op == op; }));
}

using Names = std::vector<std::string>;

TEST(AddChannelGates, AResNetGetsThemInsideItsBlocksAndNowhereElse) {
  Graph graph = Zoo("resnet20");
  const int64_t parameters = graph.ParameterCount();
  const std::vector<ChannelGate> gates = Gate(graph);
  Names expected;
  int64_t added = 0;
  for (int stage = 1; stage <= 3; ++stage) {
    for (int block = 0; block < 3; ++block) {
      expected.push_back("layer" + std::to_string(stage) + "." + std::to_string(block) + ".conv1");
      const int64_t channels = int64_t{8} << stage,
                    inputs = block == 0 && stage > 1 ? channels / 2 : channels;
      added += channels * inputs + channels;
      EXPECT_EQ(gates[expected.size() - 1].channels, channels);
    }
  }
  EXPECT_EQ(Gated(gates), expected);
  EXPECT_EQ(graph.ParameterCount(), parameters + added);
  EXPECT_EQ(Count(graph, "Mul"), 9);
  EXPECT_EQ(Count(graph, "Abs"), 0) << "what a block reads is behind a Relu";
  // Quantisation keeps the first and the last layer at 8 bits: gates must be neither.
  Names layers;
  for (const Node& node : graph.nodes()) {
    if (node.op == "Conv" || node.op == "Gemm") layers.push_back(node.name);
  }
  EXPECT_EQ(layers.front(), "conv1");
  EXPECT_EQ(layers.back(), "fc");
}

TEST(AddChannelGates, BlocksOfThreeHaveTwoAndDepthwiseConvolutionsNone) {
  Graph resnet = Zoo("resnet50");
  const std::vector<ChannelGate> gates = Gate(resnet);
  // 16 blocks, and the first convolution, which two of the first block read but no addition.
  EXPECT_EQ(gates.size(), 33u);
  EXPECT_EQ(gates[0].conv, "conv1");
  EXPECT_EQ(gates[2].conv, "layer1.0.conv2");
  Graph mobilenet = Zoo("mobilenet_v2");
  for (const ChannelGate& gate : Gate(mobilenet)) {
    for (const Node& node : mobilenet.nodes()) {
      const int64_t groups = node.GetInt("group", 1);
      EXPECT_FALSE(node.name == gate.conv && groups != 1) << node.name;
    }
  }
}

TEST(AddChannelGates, SignedInputsAreTakenByMagnitudeAndPoolsAreLookedThrough) {
  Graph graph = Zoo("lenet");
  EXPECT_EQ(Gated(Gate(graph)), Names{"conv1"}) << "conv2's channels go to the classifier";
  ASSERT_EQ(Count(graph, "Abs"), 1);
  const ValueId weight = graph.FindValue("conv1.gate.weight");
  EXPECT_EQ(*graph.value(weight).shape, (Shape{6, 3, 1, 1}));
  EXPECT_EQ(*graph.value(graph.FindValue("conv1.gate.saliency")).shape,
            (Shape{kDynamicDim, 6, 1, 1}));
}

// The gate of a convolution that reads a gated value sees that value, as the convolution does.
TEST(AddChannelGates, ChainsOfConvolutionsReadWhatIsGated) {
  Builder b("chain");
  ValueId x = b.Input("input", DType::kFloat32, {kDynamicDim, 4, 8, 8});
  for (const char* name : {"a", "b", "c"})
    x = b.Relu(b.Conv(x, name, {.channels = 4, .bias = true}));
  b.Output(x, "y");
  Graph graph = Finished(b);
  EXPECT_EQ(Gated(Gate(graph)), (Names{"a", "b"})) << "c's channels are the result";
  const Node& mean =
      graph.nodes()[static_cast<size_t>(graph.Producer(graph.FindValue("b.gate.mean")))];
  EXPECT_EQ(graph.value(mean.inputs[0]).name, "a.gate.gated");
}

TEST(AddChannelGates, GatesAreFoundAgainAndNotMadeTwice) {
  Graph graph = Zoo("resnet20");
  const std::vector<ChannelGate> gates = Gate(graph);
  const size_t nodes = graph.nodes().size();
  EXPECT_EQ(Gated(Gate(graph)), Gated(gates));
  EXPECT_EQ(graph.nodes().size(), nodes);
  Graph folded = graph;
  ASSERT_TRUE(FoldBatchNorms(folded).ok());
  EXPECT_EQ(Count(folded, "BatchNormalization"), 0);
  EXPECT_EQ(Gated(FindChannelGates(folded)), Gated(gates));
  EXPECT_TRUE(FindChannelGates(Zoo("resnet20")).empty());
}

TEST(FindChannelGates, SqueezeAndExcitationIsNone) {
  // Its saliency is of the value that it multiplies, not of the convolution's input, and a Sigmoid.
  Builder b("se");
  ValueId x = b.Input("input", DType::kFloat32, {kDynamicDim, 4, 8, 8});
  x = b.Relu(b.Conv(x, "a", {.channels = 4, .bias = true}));
  const ValueId s =
      b.Relu(b.Conv(b.GlobalAveragePool(x), "s", {.channels = 4, .kernel = 1, .bias = true}));
  b.Output(b.Mul(x, s), "y");
  EXPECT_TRUE(FindChannelGates(Finished(b)).empty());
}

TEST(AddChannelGates, FirstWeightsAreKaimingsScaledDownAndOfTheSeed) {
  Graph graph = Zoo("resnet20"), same = graph, other = graph;
  Gate(graph, {.weight_scale = 0.2, .bias = 1.5, .seed = 3});
  Gate(same, {.weight_scale = 0.2, .bias = 1.5, .seed = 3});
  Gate(other, {.weight_scale = 0.2, .bias = 1.5, .seed = 4});
  const auto floats = [](const Graph& g, const std::string& name) {
    return g.Constant(g.FindValue(name))->span<float>();
  };
  const std::string name = "layer3.2.conv1.gate.weight";
  const auto weights = floats(graph, name);
  double squares = 0;
  for (const float w : weights) squares += w * w;
  // 4096 normal numbers: their deviation is within 5 / sqrt(2 * 4096) of what it should be.
  const double deviation = std::sqrt(squares / static_cast<double>(weights.size()));
  EXPECT_NEAR(deviation / (0.2 * std::sqrt(2.0 / 64)), 1, 5 / std::sqrt(2.0 * 4096));
  EXPECT_TRUE(std::equal(weights.begin(), weights.end(), floats(same, name).begin()));
  EXPECT_FALSE(std::equal(weights.begin(), weights.end(), floats(other, name).begin()));
  for (const float b : floats(graph, "layer3.2.conv1.gate.bias")) EXPECT_EQ(b, 1.5f);
}

TEST(AddChannelGates, WhatCannotBeIsAnErrorAndTheGraphStaysAsItIs) {
  const auto refused = [](Graph graph, const ChannelGateOptions& options,
                          const std::string& words) {
    const std::string before = Describe(graph);
    const auto gates = AddChannelGates(graph, options);
    EXPECT_EQ(gates.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(std::string(gates.status().message()).find(words), std::string::npos)
        << gates.status();
    EXPECT_EQ(Describe(graph), before);
  };
  refused(Zoo("mlp"), {}, "there is nothing to gate in the model 'mlp'");
  refused(Zoo("lenet"), {.keep = {"conv1"}},
          "'conv1': it is to be kept; 'conv2': node 'Flatten_0' (Flatten) reads its channels too");
  refused(Zoo("lenet"), {.keep = {"conv9"}}, "\"conv9\"");
  refused(Zoo("lenet"), {.weight_scale = -1}, "weight_scale is -1");
  refused(Zoo("lenet"), {.bias = 0}, "bias is 0");
}

TEST(AddChannelGates, KeptConvolutionsHaveNone) {
  Graph graph = Zoo("resnet20");
  const std::vector<ChannelGate> gates = Gate(graph, {.keep = {"layer1.0.conv1", "conv1"}});
  EXPECT_EQ(gates.size(), 8u);
  EXPECT_EQ(gates[0].conv, "layer1.1.conv1");
}

// a (3 -> 4, 3x3) -> gate -> b (4 -> 6, 1x1, stride 2) -> gate -> pool -> c (6 -> 2, 3x3, two
// groups) on 8 x 8 pixels.
TEST(GatedCost, CountsPairsOfOpenChannels) {
  Builder builder("cost");
  ValueId x = builder.Input("input", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  x = builder.Relu(builder.Conv(x, "a", {.channels = 4, .bias = true}));
  x = builder.Relu(builder.Conv(x, "b", {.channels = 6, .kernel = 1, .stride = 2, .bias = true}));
  x = builder.Conv(builder.MaxPool(x, {.kernel = 2, .stride = 2}), "c",
                   {.channels = 2, .groups = 2});
  builder.Output(builder.Linear(builder.Flatten(x), "fc", 5), "y");
  Graph graph = Finished(builder);
  const std::vector<ChannelGate> gates = Gate(graph);
  ASSERT_EQ(Gated(gates), (Names{"a", "b"}));
  const auto cost = GatedCost::Create(graph, gates);
  ASSERT_TRUE(cost.ok()) << cost.status();
  const int64_t a = 9 * 64, b = 16, c = 9 * 4, fc = 8 * 5,
                own = 3 * 4 + 4 * 6;  // by pair of channels
  EXPECT_EQ(cost->whole(), 3 * 4 * a + 4 * 6 * b + 3 * 2 * c + fc);
  EXPECT_EQ(cost->gates(), own);
  const std::vector<bool> all4(4, true), all6(6, true);
  EXPECT_EQ(cost->Needed({all4, all6}), cost->whole() + own);
  // One group of c reads channels 0 to 2 of b, the other 3 to 5; each has one output.
  const std::vector<bool> two = {true, false, false, true},
                          some = {true, true, false, false, false, false};
  EXPECT_EQ(cost->Needed({two, all6}), 3 * 2 * a + 2 * 6 * b + 3 * 2 * c + fc + own);
  EXPECT_EQ(cost->Needed({two, some}), 3 * 2 * a + 2 * 2 * b + 2 * c + fc + own);
  EXPECT_EQ(cost->Needed({{false, false, false, false}, all6}), 3 * 2 * c + fc + own);
}

}  // namespace
}  // namespace ds
