// Tensors without elements: inputs and outputs have them, operators do not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "deploy/engine/compile/compile.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<Numbers> RunGraph(Builder& builder, const std::vector<Numbers>& inputs) {
  const auto graph = builder.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? RunEngine(*graph, inputs) : std::vector<Numbers>();
}

TEST(EmptyTest, AConcatenationReadsWhatHasElements) {
  Builder b("rotary");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 4});
  const ValueId nothing = b.Input("nothing", DType::kFloat32, {2, 0});
  const ValueId past = b.Op("Concat", {nothing, b.Op("Neg", {x})}, {{"axis", int64_t{1}}});
  b.Output(b.Op("Concat", {past, b.Op("Exp", {nothing})}, {{"axis", int64_t{1}}}), "y");
  b.Output(b.Op("Abs", {nothing}), "still_nothing");
  const auto results = RunGraph(b, {{{2, 4}, {1, 2, 3, 4, 5, 6, 7, 8}}, {{2, 0}, {}}});
  ASSERT_EQ(results.size(), 2u);
  EXPECT_THAT(results[0].values, ElementsAre(-1, -2, -3, -4, -5, -6, -7, -8));
  EXPECT_THAT(results[1].shape, ElementsAre(2, 0));
}

TEST(EmptyTest, AReductionOfNothingIsWhatOnnxSays) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<std::pair<std::string, float>> cases = {
      {"ReduceSum", 0.0f},       {"ReduceProd", 1.0f},   {"ReduceMax", -inf}, {"ReduceMin", inf},
      {"ReduceSumSquare", 0.0f}, {"ReduceLogSum", -inf}, {"ReduceL2", 0.0f}};
  for (const auto& [op, expected] : cases) {
    Builder b("reduce");
    const ValueId x = b.Input("x", DType::kFloat32, {2, 0, 3});
    const ValueId axes = b.Constant("", Tensor::From<int64_t>({1}, {1}));
    b.Output(b.Op(op, {x, axes}, {{"keepdims", int64_t{0}}}), "y");
    const auto results = RunGraph(b, {{{2, 0, 3}, {}}});
    ASSERT_EQ(results.size(), 1u) << op;
    EXPECT_THAT(results[0].shape, ElementsAre(2, 3)) << op;
    EXPECT_EQ(results[0].values, std::vector<double>(6, expected)) << op;
  }
}

TEST(EmptyTest, AnotherNodeThatMakesElementsOfNothingIsRefusedByName) {
  Builder b("product");
  const ValueId x = b.Input("x", DType::kFloat32, {2, 0});
  const ValueId y = b.Input("y", DType::kFloat32, {0, 3});
  b.Output(b.Op("MatMul", {x, y}, {}, "outer"), "z");
  const auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const auto bytes = engine::compile::CompileModel(*graph);
  ASSERT_EQ(bytes.status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(bytes.status().message()),
              AllOf(HasSubstr("'outer' (MatMul)"), HasSubstr("without elements")));
}

}  // namespace
}  // namespace ds::testing
