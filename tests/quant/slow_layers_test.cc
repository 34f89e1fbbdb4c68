// What integers make slower: the weights of the model are not checked here, only which way it
// leans.
#include "quant/floating/slow_layers.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/schema/schema.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Net {
  Graph graph;
  QuantSelection selection;
  QuantPlan plan;  // all that may be rounded

  explicit Net(Builder b) : graph(b.Finish().value()), selection(SelectForQuantization(graph)) {
    const absl::Status status = InferShapes(graph);
    EXPECT_TRUE(status.ok()) << status;
    const auto round = [this](ValueId id, std::map<std::string, QuantParams>& to) {
      to[graph.value(id).name].scales = {1};
    };
    for (const WeightSite& site : selection.weights) round(site.weight, plan.weights);
    for (const ActivationSite& site : selection.activations) round(site.value, plan.activations);
    for (const SharedSite& site : selection.shared) round(site.value, plan.activations);
  }

  std::vector<std::string> Slow(QuantPlan* left = nullptr) const {
    const SlowLayers slow = TakeOutSlowLayers(graph, selection, plan);
    if (left != nullptr) *left = slow.plan;
    std::vector<std::string> names;
    for (const int n : slow.nodes) names.push_back(graph.nodes()[static_cast<size_t>(n)].name);
    EXPECT_EQ(slow.saved_us > 0, !names.empty());
    return names;
  }
};

// Convolutions of `channels`, a float function behind each (no integer form), of `side` squared.
Net Islands(int64_t channels, int64_t side) {
  Builder b("islands", 1);
  ValueId x = b.Input("x", DType::kFloat32, {1, channels, side, side});
  for (const char* name : {"a", "b"})
    x = b.Op("Softplus", {b.Conv(x, name, {.channels = channels, .kernel = 3, .padding = 1})});
  b.Output(x, "y");
  return Net(std::move(b));
}

TEST(SlowLayersTest, SmallProductsBetweenConversionsStayFloat) {
  const Net few = Islands(4, 16);
  QuantPlan left;
  EXPECT_THAT(few.Slow(&left), ElementsAre("a", "b"));
  EXPECT_THAT(left.activations, IsEmpty());
  EXPECT_THAT(left.weights, IsEmpty());
}

TEST(SlowLayersTest, LargeProductsPayForTheirConversions) {
  const Net many = Islands(64, 16);
  QuantPlan left;
  EXPECT_THAT(many.Slow(&left), IsEmpty());
  EXPECT_EQ(left.activations.size(), many.plan.activations.size());
  EXPECT_EQ(left.weights.size(), 2u);
}

// The same layers joined by integers convert at the ends alone.
TEST(SlowLayersTest, AChainIsWeighedAsAWhole) {
  Builder b("chain", 1);
  ValueId x = b.Input("x", DType::kFloat32, {1, 3, 32, 32});
  x = b.Relu(b.Conv(x, "stem", {.channels = 32, .kernel = 3, .padding = 1}));
  for (const char* name : {"a", "b"})
    x = b.Relu(b.Conv(x, name, {.channels = 32, .kernel = 3, .padding = 1}));
  b.Output(x, "y");
  EXPECT_THAT(Net(std::move(b)).Slow(), IsEmpty());

  Builder alone("stem", 1);
  const ValueId y = alone.Input("x", DType::kFloat32, {1, 3, 32, 32});
  alone.Output(alone.Conv(y, "stem", {.channels = 32, .kernel = 3, .padding = 1}), "y");
  const Net stem(std::move(alone));
  EXPECT_THAT(stem.Slow(), ElementsAre("stem"));
}

// Integers pool slowly behind a float layer: what is behind goes with it.
TEST(SlowLayersTest, APoolBehindAFloatLayerCountsAgainstIntegers) {
  const auto net = [](bool pool) {
    Builder b("pool", 1);
    ValueId x = b.Input("x", DType::kFloat32, {1, 3, 48, 48});
    x = b.Op("Softplus", {b.Conv(x, "stem", {.channels = 32, .kernel = 3})});
    if (pool) x = b.MaxPool(x, {.kernel = 2, .stride = 2});
    b.Output(b.Conv(x, "next", {.channels = 32, .kernel = 3}), "y");
    return Net(std::move(b));
  };
  EXPECT_THAT(net(false).Slow(), ElementsAre("stem"));
  EXPECT_THAT(net(true).Slow(), ElementsAre("stem", "next"));
}

TEST(SlowLayersTest, WhatHasNoShapeStays) {
  Builder b("unknown", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {1, 4, kDynamicDim, kDynamicDim});
  b.Output(b.Conv(x, "a", {.channels = 4, .kernel = 3}), "y");
  EXPECT_THAT(Net(std::move(b)).Slow(), IsEmpty());
}

}  // namespace
}  // namespace ds
