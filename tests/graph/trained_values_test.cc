#include "graph/trained_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

bool Trains(const Graph& graph, const std::string& name) {
  return graph.initializers().at(graph.FindValue(name)).trainable;
}

// y = x * fc.weight + mask
Graph Layer() {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId y = b.Op("MatMul", {x, b.Parameter("fc.weight", Tensor(DType::kFloat32, {4, 3}))});
  const float infinite = -std::numeric_limits<float>::infinity();
  const ValueId mask = b.Constant("mask", Tensor::From<float>({3}, {0, infinite, 0}));
  b.Output(b.Op("Add", {y, mask}), "y");
  return b.Finish().value();
}

TEST(TrainedValuesTest, TheTextCountsAndNames) {
  EXPECT_EQ(TrainedValuesText(Layer()), "12 values in 1 tensor train, 3 in 1 is frozen: mask");
}

TEST(TrainedValuesTest, RunningStatisticsAreNotCountedAsFrozen) {
  const Graph graph = BuildModel("resnet8", {.channels = 1, .height = 28, .width = 28}).value();
  EXPECT_THAT(TrainedValuesText(graph), HasSubstr("none is frozen"));
}

TEST(TrainedValuesTest, PatternsFreezeAndTrain) {
  Graph graph = BuildModel("lenet", {.channels = 1, .height = 28, .width = 28}).value();
  std::string first, last;
  for (const auto& [id, initializer] : graph.initializers()) {
    if (!initializer.trainable) continue;
    if (first.empty()) first = graph.value(id).name;
    last = graph.value(id).name;
  }
  ASSERT_TRUE(ChooseTrained(graph, {"*"}, {last}).ok());
  EXPECT_FALSE(Trains(graph, first));
  EXPECT_TRUE(Trains(graph, last));
  ASSERT_TRUE(ChooseTrained(graph, {last}, {first.substr(0, first.size() - 1) + "?"}).ok());
  EXPECT_TRUE(Trains(graph, first));
  EXPECT_FALSE(Trains(graph, last));
}

TEST(TrainedValuesTest, APatternThatMatchesNothingIsRefusedWithSuggestions) {
  Graph graph = Layer();
  const absl::Status slip = ChooseTrained(graph, {"fc.wieght"}, {});
  EXPECT_EQ(slip.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(slip.message(), HasSubstr("'model.freeze'"));
  EXPECT_THAT(slip.message(), HasSubstr("did you mean 'fc.weight'?"));
  EXPECT_THAT(ChooseTrained(graph, {}, {"fd.*"}).message(), HasSubstr("did you mean 'fc.*'?"));
  EXPECT_THAT(ChooseTrained(graph, {"backbone.stages"}, {}).message(), HasSubstr("mask"));
}

TEST(TrainedValuesTest, WhatIsNotFiniteNeverTrains) {
  Graph graph = Layer();
  const absl::Status status = ChooseTrained(graph, {}, {"ma*"});
  EXPECT_THAT(status.message(), HasSubstr("'mask', which holds NaN or Inf"));
}

}  // namespace
}  // namespace ds
