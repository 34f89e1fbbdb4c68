#include <cmath>
#include <limits>

#include "deploy/insert_qdq.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/deploy/qdq_testing.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// One clear error each, naming what is wrong.
TEST(QdqRefusalTest, PlansThatDoNotFitAreRefused) {
  const Graph graph = ConvThen("Relu");
  const auto refusal = [&graph](auto change) {
    QuantPlan plan = PlanFor(Codes(0.02f), Codes(0.03f));
    change(plan);
    const absl::Status status = InsertQdq(graph, plan).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  const float nan = std::nanf("");
  EXPECT_THAT(refusal([](auto& p) { p.activations["nobody"] = Codes(1); }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["nobody"] = Weight(4); }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.left_in_float["nobody"] = "x"; }), HasSubstr("'nobody'"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["c.weight"] = Codes(1); }),
              HasSubstr("constant"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["x"] = Weight(4); }), HasSubstr("'x'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.bias"] = Weight(4); }), HasSubstr("'c.bias'"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"] = Weight(5); }), HasSubstr("5 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].zero_points.pop_back(); }),
              HasSubstr("3 zero points"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].axis = 4; }), HasSubstr("axis 4"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].type.bits = 1; }),
              HasSubstr("bits is 1"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].type.bits = 9; }), HasSubstr("bits is 9"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(0); }), HasSubstr("positive"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(-1); }), HasSubstr("'x'"));
  EXPECT_THAT(refusal([nan](auto& p) { p.activations["x"] = Codes(nan); }), HasSubstr("finite"));
  EXPECT_THAT(refusal([](auto& p) { p.weights["c.weight"].scales[2] = kInfinity; }),
              HasSubstr("scale 2"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"] = Codes(1, 256); }),
              HasSubstr("zero point"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].scales.clear(); }), HasSubstr("0 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].scales = {1, 1}; }), HasSubstr("2 scales"));
  EXPECT_THAT(refusal([](auto& p) { p.activations["x"].axis = 1; }), HasSubstr("axis 1"));
}

TEST(QdqRefusalTest, ABiasThatIsNotFiniteIsRefused) {
  for (const float bad : {kInfinity, std::nanf("")}) {
    Graph graph = ConvThen("Relu");
    graph.mutable_initializers().at(graph.FindValue("c.bias")).data =
        Tensor::From<float>({4}, {0, bad, 0, 0});
    const absl::Status status = InsertQdq(graph, PlanFor(Codes(0.02f), Codes(0.03f))).status();
    EXPECT_THAT(std::string(status.message()), HasSubstr("c.bias"));
  }
  // Finite, but no weight scale makes room for it.
  Graph graph = ConvThen("Relu");
  graph.mutable_initializers().at(graph.FindValue("c.bias")).data =
      Tensor::From<float>({4}, {0, 1e38f, 0, 0});
  EXPECT_THAT(
      std::string(InsertQdq(graph, PlanFor(Codes(1e-37f), Codes(0.03f))).status().message()),
      HasSubstr("too large"));
}

TEST(QdqRefusalTest, AValueOfIntegersIsRefused) {
  Builder b("net", 1);
  const ValueId x = b.Input("x", DType::kInt64, {1, 4});
  b.Output(b.Op("Cast", {x}, {{"to", int64_t{1}}}), "y");
  const Graph graph = *b.Finish();
  EXPECT_THAT(std::string(InsertQdq(graph, {.activations = {{"x", Codes(1)}}}).status().message()),
              HasSubstr("int64"));
}

}  // namespace
}  // namespace ds
