#include "prune/pruning.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "graph/builder.h"
#include "graph/describe.h"
#include "gtest/gtest.h"
#include "prune/two_four.h"
#include "tests/prune/zoo_graph.h"

namespace ds {
namespace {

std::vector<ChannelGroup> Groups(const Graph& graph) {
  auto groups = FindChannelGroups(graph);
  EXPECT_TRUE(groups.ok()) << groups.status();
  return *std::move(groups);
}

const ChannelGroup& GroupOf(const std::vector<ChannelGroup>& groups, const std::string& layer) {
  for (const ChannelGroup& group : groups) {
    if (std::count(group.layers.begin(), group.layers.end(), layer) > 0) return group;
  }
  ADD_FAILURE() << "no group has layer " << layer;
  return groups.front();
}

// The indices that channel `c` of the group has on the axis of an initialiser.
std::vector<int64_t> Places(const Graph& graph, const ChannelGroup& group, size_t c,
                            const std::string& tensor, int axis) {
  std::vector<int64_t> indices;
  for (const ChannelPlace& place : group.channels.at(c).places) {
    if (graph.value(place.tensor).name == tensor && place.axis == axis)
      indices.push_back(place.index);
  }
  return indices;
}

using Indices = std::vector<int64_t>;

TEST(ChannelGroups, AResNetHasOneForEachStageAndOneForEachInnerLayer) {
  const Graph graph = Zoo("resnet20");
  const auto groups = Groups(graph);
  // 3 stages, 9 inner convolutions, the classifier.
  ASSERT_EQ(groups.size(), 13u);
  EXPECT_EQ(
      GroupOf(groups, "conv1").layers,
      (std::vector<std::string>{"conv1", "layer1.0.conv2", "layer1.1.conv2", "layer1.2.conv2"}));
  const ChannelGroup& second = GroupOf(groups, "layer2.0.conv2");
  EXPECT_EQ(std::set<std::string>(second.layers.begin(), second.layers.end()),
            (std::set<std::string>{"layer2.0.conv2", "layer2.0.downsample.0", "layer2.1.conv2",
                                   "layer2.2.conv2"}));
  EXPECT_EQ(second.channels.size(), 32u);
  EXPECT_EQ(GroupOf(groups, "layer3.1.conv1").layers.size(), 1u);
  for (const ChannelGroup& group : groups)
    EXPECT_EQ(group.fixed_because.empty(), group.name != "fc") << group.name;
  EXPECT_EQ(GroupOf(groups, "fc").fixed_because, "it is the network's output 'logits'");
  // A stage's last channel in the classifier: its pool leaves one column a channel.
  EXPECT_EQ(Places(graph, GroupOf(groups, "layer3.0.conv2"), 63, "fc.weight", 1), (Indices{63}));
}

TEST(ChannelGroups, FlattenGivesAChannelAsManyColumnsAsItHasPixels) {
  const Graph graph = Zoo("lenet", 28);  // 16 channels of 5 x 5 before fc1
  const auto groups = Groups(graph);
  const ChannelGroup& group = GroupOf(groups, "conv2");
  EXPECT_TRUE(group.fixed_because.empty()) << group.fixed_because;
  Indices columns;
  for (int64_t i = 50; i < 75; ++i) columns.push_back(i);
  EXPECT_EQ(Places(graph, group, 2, "fc1.weight", 1), columns);
  EXPECT_EQ(Places(graph, group, 2, "conv2.bias", 0), (Indices{2}));
}

TEST(ChannelGroups, DepthwiseGroupedAndConcatenatedChannelsKeepTheirPlaces) {
  Builder b("mixed", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const ValueId left = b.Conv(x, "left", {.channels = 4});
  const ValueId right = b.Conv(x, "right", {.channels = 6});
  const ValueId wide =
      b.Conv(left, "wide", {.channels = 8, .groups = 4});  // depthwise, two filters a channel
  const ValueId grouped = b.Conv(right, "grouped", {.channels = 4, .groups = 2});
  const ValueId joined = b.Concat({wide, grouped}, 1);
  b.Output(b.Conv(joined, "head", {.channels = 2}), "y");
  const Graph graph = Finished(b);
  const auto groups = Groups(graph);
  const ChannelGroup& deep = GroupOf(groups, "left");
  EXPECT_EQ(deep.layers, (std::vector<std::string>{"left", "wide"}));
  EXPECT_EQ(Places(graph, deep, 1, "wide.weight", 0), (Indices{2, 3}));
  EXPECT_EQ(Places(graph, deep, 1, "head.weight", 1), (Indices{2, 3}));
  // Both halves lose the same channel.
  const ChannelGroup& read = GroupOf(groups, "right");
  ASSERT_EQ(read.channels.size(), 3u);
  EXPECT_EQ(Places(graph, read, 2, "right.weight", 0), (Indices{2, 5}));
  EXPECT_EQ(Places(graph, read, 2, "grouped.weight", 1), (Indices{2}));
  const ChannelGroup& made = GroupOf(groups, "grouped");
  ASSERT_EQ(made.channels.size(), 2u);
  EXPECT_EQ(Places(graph, made, 1, "head.weight", 1), (Indices{8 + 1, 8 + 3}));
}

TEST(ChannelGroups, WhatMixesChannelsIsFixedAndNamed) {
  const Graph graph = Zoo("vit_tiny");
  int hidden = 0;
  for (const ChannelGroup& group : Groups(graph)) {
    const bool mlp = group.fixed_because.empty();
    hidden += mlp ? 1 : 0;
    if (!mlp) {
      EXPECT_NE(group.fixed_because.find('\''), std::string::npos) << group.fixed_because;
    }
    if (mlp) {
      EXPECT_EQ(group.layers.size(), 1u) << group.name;
    }
  }
  EXPECT_GT(hidden, 0);  // between the two matrices of each block

  Builder b("split", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  const auto halves =
      b.MultiOp("Split", {b.Conv(x, "conv", {.channels = 4})}, 2, {{"axis", int64_t{1}}}, "cut");
  b.Output(b.Conv(b.Add(halves[0], halves[1]), "head", {.channels = 2}), "y");
  const Graph cut = Finished(b);
  EXPECT_EQ(GroupOf(Groups(cut), "conv").fixed_because, "node 'cut' (Split) needs all of it");
}

TEST(ChannelGroups, AReshapeThatOnlyFlattensIsNoObstacle) {
  Builder b("reshape", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 4, 4});
  const ValueId conv = b.Conv(x, "conv", {.channels = 4});
  const ValueId gate = b.Linear(b.Reshape(b.GlobalAveragePool(conv), {-1, 4}), "gate", 4);
  const ValueId scaled = b.Mul(conv, b.Reshape(gate, {-1, 4, 1, 1}));
  b.Output(b.Linear(b.Reshape(scaled, {-1, 64}), "head", 2), "y");
  Graph graph = Finished(b);
  ASSERT_TRUE(SimplifyReshapes(graph).ok());
  for (const Node& node : graph.nodes()) EXPECT_NE(node.op, "Reshape");
  const auto groups = Groups(graph);
  const ChannelGroup& group = GroupOf(groups, "conv");
  EXPECT_TRUE(group.fixed_because.empty()) << group.fixed_because;
  EXPECT_EQ(group.layers, (std::vector<std::string>{"conv", "gate"}));
  ASSERT_TRUE(RemoveChannels(graph, groups, {{0, 2}, {}}).ok());
  EXPECT_EQ(graph.Constant(graph.FindValue("gate.weight"))->shape(), (Shape{2, 2}));
  EXPECT_EQ(graph.Constant(graph.FindValue("head.weight"))->shape(), (Shape{2, 32}));
}

// conv: four filters of 1 x 1 x 1 x 1 with the given weights, a batch norm with the given gammas, a
// classifier.
Graph FourFilters(const std::vector<float>& weights,
                  const std::vector<float>& gammas = {1, 1, 1, 1}) {
  Builder b("four", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 1, 2, 2});
  const ValueId y = b.BatchNorm(b.Conv(x, "conv", {.channels = 4, .kernel = 1}), "norm");
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(b.Relu(y))), "head", 3), "y");
  Graph graph = Finished(b);
  const auto fill = [&graph](const char* name, const Tensor& tensor) {
    graph.mutable_initializers().at(graph.FindValue(name)).data = tensor;
  };
  fill("conv.weight", Tensor::From<float>({4, 1, 1, 1}, weights));
  fill("norm.weight", Tensor::From<float>({4}, gammas));
  return graph;
}

std::vector<float> ConvWeights(const Graph& graph) {
  const auto span = graph.Constant(graph.FindValue("conv.weight"))->span<float>();
  return {span.begin(), span.end()};
}

TEST(PruneChannels, EachMethodTakesItsLeastImportantFilters) {
  const std::vector<float> weights = {-3, 1, -2, 4}, gammas = {0.5f, -2, 0.25f, 1};
  // 2 of the model's 4 + 3 filters.
  const std::map<std::string, std::vector<float>> left = {
      {"l1", {-3, 4}}, {"bn", {1, 4}}, {"given", {-3, 1}}};
  for (const auto& [method, expected] : left) {
    Graph graph = FourFilters(weights, gammas);
    const auto report = PruneChannels(graph, {.importance = method, .amount = 2.0 / 7},
                                      {{"norm.weight", {9, 8, 1, 2}}});
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(ConvWeights(graph), expected) << method;
    EXPECT_EQ(report->filters_before, 7);
    EXPECT_EQ(report->filters_after, 5);
    // conv 4 -> 2, gamma, beta 8 -> 4, head 12 + 3 -> 6 + 3; multiplications 16 + 12 -> 8 + 6.
    EXPECT_EQ(report->parameters_before, 27);
    EXPECT_EQ(report->parameters_after, 15);
    EXPECT_EQ(report->macs_before, 28);
    EXPECT_EQ(report->macs_after, 14);
    EXPECT_TRUE(graph.Validate().ok());
  }
}

TEST(PruneChannels, MagnitudesCountAgainstTheirOwnLayersAverage) {
  Builder b("two layers", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 1, 2, 2});
  ValueId y = b.Relu(b.Conv(x, "loud", {.channels = 2, .kernel = 1}));
  y = b.Relu(b.Conv(y, "quiet", {.channels = 2, .kernel = 1}));
  b.Output(b.Conv(y, "head", {.channels = 1, .kernel = 1}), "y");
  Graph graph = Finished(b);
  graph.mutable_initializers().at(graph.FindValue("loud.weight")).data =
      Tensor::From<float>({2, 1, 1, 1}, {100, 30});
  graph.mutable_initializers().at(graph.FindValue("quiet.weight")).data =
      Tensor::From<float>({2, 2, 1, 1}, {.01f, .01f, .01f, .01f});
  const auto report = PruneChannels(graph, {.amount = 0.2});
  ASSERT_TRUE(report.ok()) << report.status();
  // 30 is 0.46 of its layer's average, every quiet filter is 1.
  EXPECT_EQ(report->groups[0].channels_after, 1);
  EXPECT_EQ(report->groups[1].channels_after, 2);
  EXPECT_EQ(graph.Constant(graph.FindValue("loud.weight"))->span<float>()[0], 100);
}

TEST(PruneChannels, ReachesTheAmountOnEveryModelAndCountsWhatDescribeCounts) {
  for (const char* name : {"resnet20", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "lenet",
                           "mlp", "yolo_nano"}) {
    for (const char* measure : {"filters", "macs"}) {
      for (const char* scope : {"global", "uniform"}) {
        SCOPED_TRACE(std::string(name) + " " + measure + " " + scope);
        Graph graph = Zoo(name, std::string(name) == "yolo_nano" ? 64 : 32);
        const int64_t macs = TotalMultiplyAccumulates(graph), parameters = graph.ParameterCount();
        const auto report =
            PruneChannels(graph, {.amount = 0.4, .measure = measure, .scope = scope});
        ASSERT_TRUE(report.ok()) << report.status();
        EXPECT_EQ(report->macs_before, macs);
        EXPECT_EQ(report->parameters_before, parameters);
        EXPECT_EQ(report->macs_after, TotalMultiplyAccumulates(graph));
        EXPECT_EQ(report->parameters_after, graph.ParameterCount());
        const bool by_macs = std::string(measure) == "macs";
        const double left =
            by_macs ? static_cast<double>(report->macs_after) / static_cast<double>(macs)
                    : static_cast<double>(report->filters_after) /
                          static_cast<double>(report->filters_before);
        EXPECT_LE(left, 0.6);
        EXPECT_GT(left, 0.5);
        EXPECT_LT(report->macs_after, macs);
        for (const PrunedGroup& group : report->groups)
          EXPECT_GE(group.channels_after, 1) << group.name;
      }
    }
  }
}

TEST(PruneChannels, UniformTakesTheSameShareAndMultiplesAreLeft) {
  Graph graph = Zoo("resnet20");
  auto report = PruneChannels(graph, {.amount = 0.4, .scope = "uniform"});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const PrunedGroup& group : report->groups) {
    if (!group.fixed_because.empty()) continue;
    const double gone =
        1 - static_cast<double>(group.channels_after) / static_cast<double>(group.channels_before);
    EXPECT_NEAR(gone, 0.4, 1.0 / 16) << group.name;
  }
  graph = Zoo("mobilenet_v2");
  report = PruneChannels(graph, {.amount = 0.4, .multiple = 8});
  ASSERT_TRUE(report.ok()) << report.status();
  for (const PrunedGroup& group : report->groups) {
    if (group.fixed_because.empty()) {
      EXPECT_EQ(group.channels_after % 8, 0) << group.name;
    }
  }
}

// By name.
std::map<std::string, Tensor> Weights(const Graph& graph) {
  std::map<std::string, Tensor> weights;
  for (const auto& [id, initializer] : graph.initializers())
    weights[graph.value(id).name] = initializer.data;
  return weights;
}

TEST(PruneChannels, InTwoStepsWhatWentCanBeRepeatedOnTheWholeModel) {
  for (const char* name : {"resnet20", "mobilenet_v2", "lenet"}) {
    SCOPED_TRACE(name);
    const Graph whole = Zoo(name, 28);
    Graph graph = whole, repeated = whole;
    RemovedSlices removed;
    for (const double amount : {0.2, 0.3}) {
      const auto report = PruneChannels(graph, {.amount = amount});
      ASSERT_TRUE(report.ok()) << report.status();
      AddLaterSlices(report->removed, removed);
    }
    const absl::Status status = RepeatPruning(repeated, removed);
    ASSERT_TRUE(status.ok()) << status;
    const auto expected = Weights(graph), weights = Weights(repeated);
    ASSERT_EQ(weights.size(), expected.size());
    for (const auto& [weight, tensor] : weights) {
      ASSERT_EQ(tensor.shape(), expected.at(weight).shape()) << weight;
      EXPECT_EQ(std::memcmp(tensor.data(), expected.at(weight).data(),
                            static_cast<size_t>(tensor.size_bytes())),
                0)
          << weight;
    }
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      EXPECT_EQ(repeated.nodes()[n].GetInt("group", 1), graph.nodes()[n].GetInt("group", 1));
    }
  }
}

TEST(PruneChannels, MostOfAGroupCountsFromWhatItHadAtFirst) {
  Graph graph = Zoo("resnet20");
  std::map<std::string, int64_t> at_first;
  for (const ChannelGroup& group : Groups(graph))
    at_first[group.name] = static_cast<int64_t>(group.channels.size());
  const PruneOptions options = {
      .amount = 0.3, .scope = "uniform", .most_of_group = 0.5, .channels_at_first = at_first};
  ASSERT_TRUE(PruneChannels(graph, options).ok());
  Graph again = graph;
  // 0.7 of the filters are left, of which 0.2 / 0.7 may go. Without the memory 0.5 may.
  const auto refused = PruneChannels(again, options);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("can be removed"), std::string::npos);
  PruneOptions forgets = options;
  forgets.channels_at_first.clear();
  EXPECT_TRUE(PruneChannels(again, forgets).ok());
  PruneOptions less = options;
  less.amount = 0.25;
  EXPECT_TRUE(PruneChannels(graph, less).ok());
  for (const ChannelGroup& group : Groups(graph))
    EXPECT_GE(2 * static_cast<int64_t>(group.channels.size()), at_first.at(group.name));
}

TEST(PruneChannels, TheShareRisesAsACubicToTheWhole) {
  EXPECT_DOUBLE_EQ(GradualShare(0.4, 1, 1), 0.4);
  EXPECT_DOUBLE_EQ(GradualShare(0.4, 1, 2), 0.4 * 7 / 8);
  EXPECT_DOUBLE_EQ(GradualShare(0.8, 1, 4), 0.8 * 37 / 64);
  EXPECT_DOUBLE_EQ(GradualShare(0.8, 4, 4), 0.8);
}

TEST(RemoveSlices, IndicesOfALaterStepCountWhatWasLeft) {
  RemovedSlices removed = {{"w", {{0, {1, 2, 5}}}}};  // of 0..7 are left 0 3 4 6 7
  AddLaterSlices({{"w", {{0, {0, 1, 4}}, {1, {2}}}}, {"v", {{0, {3}}}}}, removed);
  EXPECT_EQ(removed,
            (RemovedSlices{{"w", {{0, {0, 1, 2, 3, 5, 7}}, {1, {2}}}}, {"v", {{0, {3}}}}}));
}

TEST(RemoveSlices, RefusesWhatDoesNotFitAndLeavesTheGraphAlone) {
  Graph graph = Zoo("lenet", 28);
  const auto before = Weights(graph);
  const std::map<std::string, RemovedSlices> cases = {
      {"no initialiser", {{"nothing", {{0, {0}}}}}},
      {"axis 4", {{"conv1.weight", {{4, {0}}}}}},
      {"out of range", {{"conv1.weight", {{0, {6}}}}}},
      {"nothing would be left", {{"conv1.weight", {{0, {0, 1, 2, 3, 4, 5}}}}}},
      {"conv1", {{"conv1.weight", {{0, {2}}}}}}};  // its bias stays: no valid graph
  for (const auto& [fragment, removed] : cases) {
    const absl::Status status = RemoveSlices(graph, removed);
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << fragment;
    EXPECT_NE(status.message().find(fragment), std::string::npos) << status;
  }
  for (const auto& [name, tensor] : Weights(graph))
    EXPECT_EQ(tensor.shape(), before.at(name).shape());
}

TEST(PruneChannels, KeepsTheLayersItIsToldToKeep) {
  Graph graph = Zoo("resnet20");
  const auto report = PruneChannels(graph, {.amount = 0.3, .keep = {"layer1.1.conv2"}});
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->groups.front().name, "conv1");
  EXPECT_EQ(report->groups.front().channels_after, 16);
  EXPECT_EQ(report->groups.front().fixed_because, "layer 'layer1.1.conv2' is to be kept");
}

TEST(PruneChannels, RefusesWhatItCannotDoAndLeavesTheGraphAlone) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  struct Case {
    PruneOptions options;
    std::string fragment;
    ChannelImportance given = {};
    std::vector<float> weights = {1, 2, 3, 4};
  };
  const std::vector<Case> cases = {
      {{.amount = 0}, "amount is 0"},
      {{.amount = 1}, "amount is 1"},
      {{.amount = std::nan("")}, "amount is nan"},
      {{.importance = "l2"}, "l1, bn or given"},
      {{.measure = "bytes"}, "filters or macs"},
      {{.scope = "layer"}, "global or uniform"},
      {{.multiple = 0}, "multiple is 0"},
      {{.most_of_group = 1}, "most_of_group is 1"},
      {{.keep = {"nonsense"}}, "nonsense"},
      {{.amount = 0.9}, "layer 'head' is fixed: it is the network's output 'y'"},
      {{.amount = 0.4, .multiple = 8}, "lower multiple"},
      {{.importance = "given", .amount = 0.2}, "knows nothing"},
      {{.importance = "given", .amount = 0.2}, "3 numbers", {{"conv.weight", {1, 2, 3}}}},
      {{.importance = "given", .amount = 0.2},
       "channel 1 of 'conv.weight' is not finite",
       {{"conv.weight", {1, kNan, 3, 4}}}},
      {{.amount = 0.2}, "channel 2 of 'conv.weight' is not finite", {}, {1, 2, kNan, 4}},
  };
  for (const Case& c : cases) {
    Graph graph = FourFilters(c.weights);
    const auto report = PruneChannels(graph, c.options, c.given);
    ASSERT_FALSE(report.ok()) << c.fragment;
    EXPECT_EQ(report.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(report.status().message().find(c.fragment), std::string::npos) << report.status();
    EXPECT_EQ(ConvWeights(graph).size(), 4u);
  }
  Graph graph = FourFilters({1, 2, 3, 4});
  const auto groups = Groups(graph);
  for (const auto& removed : std::vector<std::vector<std::vector<int>>>{
           {{0, 1, 2, 3}, {}}, {{0, 0}, {}}, {{4}, {}}, {{-1}, {}}, {{}, {0}}, {{0}}}) {
    EXPECT_EQ(RemoveChannels(graph, groups, removed).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ConvWeights(graph).size(), 4u);
  }
}

// The most that any two of four can keep, of every four input channels, by trying all pairs.
double BestKept(const Tensor& weight) {
  const auto w = weight.span<float>();
  const int64_t inner = weight.dim(2) * weight.dim(3);
  double kept = 0;
  for (int64_t m = 0; m < weight.dim(0); ++m) {
    for (int64_t c = 0; c < weight.dim(1); c += 4) {
      for (int64_t pixel = 0; pixel < inner; ++pixel) {
        const auto at = [&](int64_t i) {
          return std::abs(static_cast<double>(
              w[static_cast<size_t>((m * weight.dim(1) + c + i) * inner + pixel)]));
        };
        double best = 0;
        for (int64_t i = 0; i < 4; ++i) {
          for (int64_t j = i + 1; j < 4; ++j) best = std::max(best, at(i) + at(j));
        }
        kept += best;
      }
    }
  }
  return kept;
}

// At most two of any four consecutive weights along `axis` are not zero.
bool HasTwoFourPattern(const Tensor& weight, int axis) {
  int64_t inner = 1;
  for (int i = axis + 1; i < weight.rank(); ++i) inner *= weight.dim(i);
  std::map<std::pair<int64_t, int64_t>, int> others;  // by block of four and what is inside `axis`
  for (int64_t i = 0; i < weight.num_elements(); ++i) {
    if (weight.span<float>()[static_cast<size_t>(i)] != 0) ++others[{i / inner / 4, i % inner}];
  }
  return std::ranges::all_of(others, [](const auto& block) { return block.second <= 2; });
}

double Magnitude(const Tensor& weight) {
  double sum = 0;
  for (const float x : weight.span<float>()) sum += std::abs(static_cast<double>(x));
  return sum;
}

TEST(TwoFour, KeepsTheMostMagnitudeThatThePatternAllows) {
  Graph graph = Zoo("resnet20");
  const Graph whole = graph;
  const auto layers = ApplyTwoFour(graph, {"layer3.0.conv1"});
  ASSERT_TRUE(layers.ok()) << layers.status();
  int sparse = 0;
  for (const TwoFourLayer& layer : *layers) {
    const Tensor& before = *whole.Constant(whole.FindValue(layer.weight));
    const Tensor& after = *graph.Constant(graph.FindValue(layer.weight));
    if (!layer.dense_because.empty()) {
      EXPECT_EQ(Magnitude(before), Magnitude(after));
      EXPECT_TRUE(layer.node == "conv1" || layer.node == "layer3.0.conv1") << layer.dense_because;
      continue;
    }
    ++sparse;
    EXPECT_TRUE(HasTwoFourPattern(after, 1)) << layer.node;
    EXPECT_FALSE(HasTwoFourPattern(before, 1)) << layer.node;
    if (layer.node == "fc") continue;
    EXPECT_NEAR(Magnitude(after), BestKept(before), 1e-9 * BestKept(before)) << layer.node;
    EXPECT_NEAR(layer.magnitude_lost, 1 - BestKept(before) / Magnitude(before), 1e-9);
    for (int64_t i = 0; i < before.num_elements(); ++i) {
      const float x = after.span<float>()[static_cast<size_t>(i)];
      EXPECT_TRUE(x == 0 || x == before.span<float>()[static_cast<size_t>(i)]);
    }
  }
  EXPECT_EQ(sparse, 20);
}

TEST(TwoFour, AWeightThatTwoLayersShareStaysDense) {
  Graph graph = Zoo("resnet20");
  std::vector<Node*> layers;
  for (Node& node : graph.mutable_nodes()) {
    if (node.name == "layer1.0.conv1" || node.name == "layer1.0.conv2") layers.push_back(&node);
  }
  ASSERT_EQ(layers.size(), 2u);
  layers[1]->inputs[1] = layers[0]->inputs[1];
  const auto report = ApplyTwoFour(graph);
  ASSERT_TRUE(report.ok()) << report.status();
  int shared = 0;
  for (const TwoFourLayer& layer : *report) {
    if (layer.dense_because.find("several nodes") != std::string::npos) ++shared;
  }
  EXPECT_EQ(shared, 2);
  EXPECT_FALSE(HasTwoFourPattern(*graph.Constant(layers[0]->inputs[1]), 1));
}

TEST(TwoFour, RunsAlongTheInputsOfMatrices) {
  Builder b("matrices", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4});
  b.Output(b.Linear(b.TokenLinear(x, "up", 8), "down", 2), "y");
  Graph graph = Finished(b);
  graph.mutable_initializers().at(graph.FindValue("up.weight")).data =
      Tensor::From<float>({4, 8}, {1, 1, 1, 1, 0, -4, 1, 1,  //
                                   2, 0, 1, 1, 0, -3, 1, 1,  //
                                   3, 0, 1, 1, 0, -2, 1, 1,  //
                                   4, 0, 1, 1, 0, -1, 1, 1});
  ASSERT_TRUE(ApplyTwoFour(graph).ok());
  const auto span = graph.Constant(graph.FindValue("up.weight"))->span<float>();
  EXPECT_EQ(std::vector<float>(span.begin(), span.end()),
            (std::vector<float>{0, 1, 1, 1, 0, -4, 1, 1,  //
                                0, 0, 1, 1, 0, -3, 1, 1,  //
                                3, 0, 0, 0, 0, 0,  0, 0,  //
                                4, 0, 0, 0, 0, 0,  0, 0}));
  EXPECT_TRUE(HasTwoFourPattern(*graph.Constant(graph.FindValue("down.weight")), 1));
}

TEST(TwoFour, RefusesWhatItCannotDoAndLeavesTheGraphAlone) {
  Graph graph = FourFilters({1, 2, std::nanf(""), 4});
  EXPECT_NE(ApplyTwoFour(graph, {"nonsense"}).status().message().find("nonsense"),
            std::string::npos);
  // conv has one input.
  EXPECT_NE(ApplyTwoFour(graph, {"head"}).status().message().find("no multiple of 4"),
            std::string::npos);
  ASSERT_TRUE(ApplyTwoFour(graph).ok());
  const ValueId head = graph.FindValue("head.weight");
  Tensor poisoned = graph.Constant(head)->Clone();
  for (float& value : poisoned.mutable_span<float>()) value = std::nanf("");
  graph.mutable_initializers().at(head).data = poisoned;
  EXPECT_NE(ApplyTwoFour(graph).status().message().find("head.weight"), std::string::npos);
}

}  // namespace
}  // namespace ds
