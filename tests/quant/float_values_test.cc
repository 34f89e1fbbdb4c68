// The search for values that stay float: whom it blames, what goes with them, and when it gives up.
// Errors are a made-up sum over the values that a plan rounds.
#include "quant/floating/float_values.h"

#include <map>
#include <string>

#include "gmock/gmock.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/floating/plan_cutter.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int kLayers = 16;

// A chain of convolutions and Relus; all that may be rounded is.
struct Chain {
  Graph graph;
  QuantSelection selection;
  QuantPlan plan;
  std::map<std::string, double> cost;  // of rounding a value
  int measurements = 0;

  Chain() {
    Builder b("chain", 1);
    ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4, 6, 6});
    for (int i = 0; i < kLayers; ++i)
      x = b.Relu(b.Conv(x, "conv" + std::to_string(i), {.channels = 4, .kernel = 1}));
    b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(x)), "head", 3), "y");
    graph = b.Finish().value();
    selection = SelectForQuantization(graph);
    for (const WeightSite& site : selection.weights)
      plan.weights[graph.value(site.weight).name].scales = {1};
    for (const ActivationSite& site : selection.activations)
      plan.activations[graph.value(site.value).name].scales = {1};
    for (const SharedSite& site : selection.shared)
      plan.activations[graph.value(site.value).name].scales = {1};
  }

  std::string Site(int i) const {
    return graph.value(selection.activations[static_cast<size_t>(i)].value).name;
  }

  FloatValues Find(FloatValuesOptions options = {}) {
    const MeasureErrors measure =
        [this](const QuantPlan& rounded) -> absl::StatusOr<std::vector<double>> {
      ++measurements;
      double sum = 0;
      for (const auto& [name, params] : rounded.activations)
        sum += cost.contains(name) ? cost.at(name) : 0;
      return std::vector<double>{0, sum};
    };
    auto found = FindFloatValues(graph, selection, plan, measure, options);
    EXPECT_TRUE(found.ok()) << found.status();
    return *found;
  }
};

TEST(FloatValues, TheOneToBlameIsFoundInFewMeasurements) {
  Chain chain;
  for (size_t i = 0; i < chain.selection.activations.size(); ++i)
    chain.cost[chain.Site(static_cast<int>(i))] = 1e-5;
  chain.cost[chain.Site(5)] = 0.5;
  const auto found = chain.Find();
  EXPECT_THAT(found.values, ElementsAre(chain.selection.activations[5].value));
  EXPECT_GT(found.error_before[1], 0.5);
  EXPECT_LT(found.error_after[1], 1e-3);
  EXPECT_FALSE(found.plan.activations.contains(chain.Site(5)));
  EXPECT_LE(chain.measurements, 14);  // halves of 18, twice, to one; before and after
}

// The convolution that makes the value and the one that reads it compute in float: their weights
// have no codes; all others keep theirs.
TEST(FloatValues, WeightsOfLayersLeftInFloatGoWithThem) {
  Chain chain;
  chain.cost[chain.Site(5)] = 0.5;
  const auto found = chain.Find();
  EXPECT_EQ(found.plan.weights.size(), chain.plan.weights.size() - 2);
  EXPECT_FALSE(found.plan.weights.contains("conv4.weight"));
  EXPECT_FALSE(found.plan.weights.contains("conv5.weight"));
  const QuantSelection left = SelectionIn(chain.graph, chain.selection, found.plan);
  EXPECT_EQ(left.weights.size(), chain.selection.weights.size() - 2);
  EXPECT_EQ(left.multipliers.size(), chain.selection.multipliers.size() - 2);
  EXPECT_EQ(left.activations.size(), chain.selection.activations.size() - 1);
}

// Between two values in float nothing computes with the codes of a third.
TEST(FloatValues, CodesThatNoNodeComputesWithGoToo) {
  Chain chain;
  chain.cost[chain.Site(5)] = 0.5;
  chain.cost[chain.Site(7)] = 0.5;
  const auto found = chain.Find();
  EXPECT_EQ(found.values.size(), 2u);
  EXPECT_FALSE(found.plan.activations.contains(chain.Site(6)));
  EXPECT_TRUE(found.plan.activations.contains(chain.Site(8)));
  EXPECT_EQ(found.plan.weights.size(), chain.plan.weights.size() - 4);
}

TEST(FloatValues, APlanThatIsNearEnoughStaysAsItIs) {
  Chain chain;
  chain.cost[chain.Site(5)] = 0.009;
  const auto found = chain.Find();
  EXPECT_THAT(found.values, IsEmpty());
  EXPECT_EQ(found.plan.activations.size(), chain.plan.activations.size());
  EXPECT_EQ(chain.measurements, 1);
}

TEST(FloatValues, NoiseThatAllShareIsNobodys) {
  Chain chain;
  for (size_t i = 0; i < chain.selection.activations.size(); ++i)
    chain.cost[chain.Site(static_cast<int>(i))] = 0.004;
  const auto found = chain.Find();
  EXPECT_THAT(found.values, IsEmpty());
  EXPECT_EQ(found.plan.activations.size(), chain.plan.activations.size());
  EXPECT_EQ(found.error_after, found.error_before);
  EXPECT_LE(chain.measurements, 40);
  chain.measurements = 0;
  EXPECT_THAT(chain.Find({.most_measurements = 10}).values, IsEmpty());
  EXPECT_LE(chain.measurements, 12);
}

// A front end of powers: each alone is too much, however many they are.
TEST(FloatValues, AllThatAloneAreTooMuchStayFloat) {
  Chain chain;
  for (int i = 1; i < 10; ++i) chain.cost[chain.Site(i)] = 0.5;
  const auto found = chain.Find();
  EXPECT_EQ(found.values.size(), 9u);
  EXPECT_EQ(found.error_after[1], 0);
  EXPECT_TRUE(found.plan.activations.contains(chain.Site(10)));
}

// What is to blame goes even if what all share is left over; unless that was most of it.
TEST(FloatValues, TheWorstGoesThoughTheRestIsTooMuchStill) {
  Chain chain;
  for (size_t i = 0; i < chain.selection.activations.size(); ++i)
    chain.cost[chain.Site(static_cast<int>(i))] = 0.001;
  chain.cost[chain.Site(5)] = 0.2;
  EXPECT_THAT(chain.Find().values, ElementsAre(chain.selection.activations[5].value));
  chain.cost[chain.Site(5)] = 0.03;
  EXPECT_THAT(chain.Find().values, IsEmpty());
}

}  // namespace
}  // namespace ds
