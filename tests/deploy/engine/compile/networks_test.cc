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

// Constants of several forms beside each other: of weights, of a channel each, of one number.
TEST(NetworksTest, ConstantOperandsAreTheirOwn) {
  Builder builder("constants");
  ValueId x = builder.Input("x", DType::kFloat32, {2, 5, 4, 3});
  const auto channels = [&](float first) {
    std::vector<float> values(5);
    for (size_t i = 0; i < 5; ++i) values[i] = first + 0.3f * static_cast<float>(i);
    return builder.Constant("", Tensor::From<float>({5, 1, 1}, values));
  };
  x = builder.Op("Sigmoid", {builder.Mul(x, channels(0.5f))});
  x = builder.Op("Sub", {channels(1.5f), x});
  x = builder.Op("Conv",
                 {x, builder.Constant("w", Tensor::From<float>({1, 5, 1, 1}, {1, -2, 3, -4, 5}))});
  x = builder.Op("Div", {x, builder.Constant("", Tensor::Scalar(1.7f))});
  x = builder.Op("Transpose", {builder.Relu(x)}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  x = builder.Op("Pow", {x, builder.Constant("", Tensor::Scalar(2.0f))});
  x = builder.Op("Softmax", {x}, {{"axis", int64_t{-1}}});
  builder.Output(x, "y");
  const auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const Numbers input = SomeNumbers({2, 5, 4, 3});
  const auto wanted = Evaluate(*graph, {input});
  const auto got = RunEngine(*graph, {input});
  ASSERT_EQ(got.size(), 1u);
  EXPECT_LE(Distance(got[0], wanted[0], 1), 1e-5);
}

TEST(NetworksTest, TransformersRun) {
  Compare("vit_tiny", {.height = 32, .width = 32}, {});
  const Graph graph = Network("gpt_nano", {.classes = 50, .sequence_length = 11});
  Numbers ids{{1, 11}, {}};
  for (int i = 0; i < 11; ++i) ids.values.push_back(i * 7 % 50);
  const auto wanted = Evaluate(graph, {ids});
  const auto got = RunEngine(graph, {ids}, {}, "", 2);
  ASSERT_EQ(got.size(), 1u);
  const auto [low, high] = std::minmax_element(wanted[0].values.begin(), wanted[0].values.end());
  EXPECT_LE(Distance(got[0], wanted[0], *high - *low), 1e-4);
}

// With the second operand as it is, turned about, and one for all; more rows than a block has.
TEST(NetworksTest, ProductsOfComputedMatrices) {
  for (const bool turned : {false, true}) {
    for (const Shape& right : {Shape{2, 3, 5, 37}, Shape{5, 37}}) {
      Builder builder("products");
      const ValueId a = builder.Input("a", DType::kFloat32, {2, 3, 17, 5});
      Shape shape = right;
      std::vector<int64_t> order;
      for (size_t i = 0; i < shape.size(); ++i) order.push_back(static_cast<int64_t>(i));
      if (turned) {
        std::swap(order[order.size() - 1], order[order.size() - 2]);
        std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
      }
      const ValueId b = builder.Input("b", DType::kFloat32, shape);
      const ValueId second = turned ? builder.Op("Transpose", {b}, {{"perm", order}}) : b;
      builder.Output(builder.Op("MatMul", {a, second}), "y");
      const auto graph = builder.Finish();
      ASSERT_TRUE(graph.ok()) << graph.status();
      const std::vector<Numbers> inputs = {SomeNumbers({2, 3, 17, 5}), SomeNumbers(shape, 3)};
      const auto wanted = Evaluate(*graph, inputs);
      const auto got = RunEngine(*graph, inputs, {}, "", 2);
      ASSERT_EQ(got.size(), 1u);
      EXPECT_LE(Distance(got[0], wanted[0], 1), 1e-5);
    }
  }
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
