// What --explain says of steps that no pass took in: which pattern refused, and for whom.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "deploy/engine/compile/compile.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileReport;
using engine::compile::Explain;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr float kIn = 0.02f, kMid = 0.05f, kOut = 0.03f;
using Conv = CodeGraph::ConvShape;

std::string Explained(const Graph& graph) {
  CompileReport report;
  const auto bytes = CompileModel(graph, {}, &report);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return Explain(report);
}

class Explanation : public ::testing::Test {
 protected:
  ValueId Input(Shape shape) { return graph_.Through(graph_.Input("x", shape), kIn, 128); }
  ValueId Convolved(ValueId x, const Conv& shape) {
    return graph_.Through(graph_.Conv(x, kIn, shape), kMid, 128);
  }
  std::string Text(ValueId output) { return Explained(graph_.Finish(output)); }

  CodeGraph graph_;
};

TEST_F(Explanation, ASumWhoseOperandsHaveOtherReaders) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId y = Convolved(x, {4, 4, 3});
  const ValueId pooled =
      graph_.Through(graph_.builder().Op("MaxPool", {y},
                                         {{"kernel_shape", std::vector<int64_t>{3, 3}},
                                          {"pads", std::vector<int64_t>{1, 1, 1, 1}}}),
                     kMid, 128);
  const ValueId sum = graph_.Through(graph_.builder().Add(y, pooled), kOut, 128);
  const std::string text = Text(sum);
  EXPECT_THAT(text, ContainsRegex("add8"));
  EXPECT_THAT(text, HasSubstr("has 2 readers"));
  EXPECT_THAT(text, HasSubstr("(pool8) takes no sum"));
}

TEST_F(Explanation, ASumThatIsTakenInIsNotSaidToStay) {
  const ValueId x = Input({1, 4, 5, 5});
  const std::string text =
      Text(graph_.Through(graph_.builder().Add(Convolved(x, {4, 4, 3}), x), kOut, 128));
  EXPECT_THAT(text, HasSubstr("with sum"));
  EXPECT_THAT(text, Not(HasSubstr("add8")));
  EXPECT_THAT(text, Not(HasSubstr("readers")));
}

TEST_F(Explanation, ATableWhoseInputIsTheModelsOwn) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId gate = graph_.Through(graph_.builder().Op("Sigmoid", {x}), 1.0f / 255, 0);
  const std::string text = Text(gate);
  EXPECT_THAT(text, ContainsRegex("lookup8"));
  EXPECT_THAT(text, HasSubstr("(quantise) in front of it takes no table"));
}

TEST_F(Explanation, ATableBehindASum) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId sum = graph_.Through(graph_.builder().Add(Convolved(x, {4, 4, 3}), x), kOut, 128);
  const std::string text =
      Text(graph_.Through(graph_.builder().Op("Sigmoid", {sum}), 1.0f / 255, 0));
  EXPECT_THAT(text, ContainsRegex(
                        "add8 .*\n +with table of Sigmoid\n +stays: its codes go through a table"));
}

TEST_F(Explanation, AConcatenationThatCopies) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId y = Convolved(x, {4, 4, 3});
  const std::string text = Text(graph_.Through(graph_.builder().Concat({y, y}, 2), kMid, 128));
  EXPECT_THAT(text, ContainsRegex("concat"));
  EXPECT_THAT(text, HasSubstr("stays: it joins along another axis than the densest"));
}

TEST_F(Explanation, FloatsBetweenCodes) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId y = graph_.builder().Op("Softmax", {x}, {{"axis", int64_t{1}}}, "shares");
  const std::string text = Text(graph_.Through(y, kOut, 128));
  EXPECT_THAT(text, HasSubstr("stays: the model's input is floats"));
  EXPECT_THAT(text, ContainsRegex("softmax_f32\\) behind it computes in float"));
  EXPECT_THAT(text, ContainsRegex("softmax_f32\\) in front of it computes in float"));
  EXPECT_THAT(text, HasSubstr("stays: the model's output is floats"));
  EXPECT_THAT(text, HasSubstr("computes in float: no kernel of codes computes 'shares' (Softmax)"));
}

TEST_F(Explanation, AnOperandThatIsNotCodes) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId y = graph_.Input("y", {1, 4, 5, 5});
  const std::string text = Text(graph_.Through(graph_.builder().Add(x, y), kOut, 128));
  EXPECT_THAT(text, HasSubstr("computes in float: 'y' is not codes"));
}

TEST_F(Explanation, AResultThatFloatsNeedToo) {
  const ValueId x = Input({1, 4, 5, 5});
  const ValueId sum = graph_.builder().Add(x, Convolved(x, {4, 4, 3}));
  const ValueId shares = graph_.builder().Op("Softmax", {sum}, {{"axis", int64_t{1}}});
  const ValueId both = graph_.builder().Concat({graph_.Through(sum, kOut, 128), shares}, 1);
  EXPECT_THAT(Text(both), ContainsRegex("computes in float: '[^']*' has 2 readers, one of floats"));
}

TEST(ExplanationOfFloats, ABatchNormThatNoConvolutionTakesIn) {
  Builder builder("norms");
  const ValueId x = builder.Input("x", DType::kFloat32, {1, 4, 6, 6});
  const ValueId y = builder.Conv(x, "conv", {.channels = 4});
  builder.Output(builder.Relu(builder.BatchNorm(builder.Relu(y), "norm")), "output");
  auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string text = Explained(*graph);
  EXPECT_THAT(text, ContainsRegex("stays: batch norm behind '[^']*' \\(Relu\\), which is no conv"));
}

TEST(ExplanationOfFloats, AnActivationOfWhatOthersRead) {
  Builder builder("activations");
  const ValueId x = builder.Input("x", DType::kFloat32, {1, 4, 6, 6});
  const ValueId y = builder.Conv(x, "conv", {.channels = 4});
  builder.Output(builder.Concat({builder.Relu(y), builder.Op("Sigmoid", {y})}, 1), "output");
  auto graph = builder.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const std::string text = Explained(*graph);
  EXPECT_THAT(text, ContainsRegex("activate_f32"));
  EXPECT_THAT(text, HasSubstr("has 2 readers"));
  EXPECT_THAT(text, HasSubstr("stays: the model's output is wanted in this order"));
}

}  // namespace
}  // namespace ds::testing
