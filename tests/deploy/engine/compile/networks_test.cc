// Whole float networks of the zoo against plain arithmetic.
#include <gtest/gtest.h>

#include <algorithm>

#include "graph/schema/schema.h"
#include "graph/zoo/zoo.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

// With the batch fixed, as the compiler does it.
Graph Network(const std::string& name, const ModelOptions& options) {
  absl::StatusOr<Graph> graph = BuildModel(name, options);
  EXPECT_TRUE(graph.ok()) << graph.status();
  if (!graph.ok()) return {};
  for (const ValueId input : graph->inputs()) (*graph->mutable_value(input).shape)[0] = 1;
  EXPECT_TRUE(InferShapes(*graph).ok());
  return *std::move(graph);
}

void Compare(const std::string& name, const ModelOptions& zoo,
             const engine::compile::CompileOptions& options) {
  SCOPED_TRACE(name);
  const Graph graph = Network(name, zoo);
  const Numbers input = SomeNumbers({1, zoo.channels, zoo.height, zoo.width});
  const auto wanted = Evaluate(graph, {input});
  const auto got = RunEngine(graph, {input}, options);
  ASSERT_EQ(got.size(), wanted.size());
  const auto [low, high] = std::minmax_element(wanted[0].values.begin(), wanted[0].values.end());
  ASSERT_GT(*high, *low);
  EXPECT_LE(Distance(got[0], wanted[0], *high - *low), 1e-4);
}

TEST(NetworksTest, AreWithinRoundingsOfPlainArithmetic) {
  Compare("resnet20", {}, {});
  Compare("mobilenet_v2", {.height = 32, .width = 32}, {});
}

TEST(NetworksTest, PassesAreRoundingsAtMost) {
  for (const auto pass :
       {&engine::compile::PassSwitches::fold_batch_norms, &engine::compile::PassSwitches::fuse_sums,
        &engine::compile::PassSwitches::fuse_activations,
        &engine::compile::PassSwitches::reuse_in_place}) {
    engine::compile::CompileOptions options;
    options.passes.*pass = false;
    Compare("resnet20", {.height = 16, .width = 16}, options);
  }
}

}  // namespace
}  // namespace ds::testing
