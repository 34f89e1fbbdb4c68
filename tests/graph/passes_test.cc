#include "graph/passes/passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "graph/builder.h"
#include "graph/describe.h"
#include "graph/initialization.h"
#include "graph/replace_head.h"
#include "graph/schema/schema.h"
#include "graph/zoo/zoo.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
constexpr int64_t kAny = kDynamicDim;

std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

TEST(CleanUpTest, DeadNodesAndTheirWeightsGo) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  b.Linear(x, "unused", 5);
  b.Output(b.Linear(x, "used", 2), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(EliminateDeadNodes(graph).ok());
  EXPECT_EQ(graph.nodes().size(), 1u);
  EXPECT_EQ(graph.ParameterCount(), 8);
  EXPECT_TRUE(graph.Validate().ok());
}

TEST(CleanUpTest, IdentitiesGoAndOutputsKeepTheirNames) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  ValueId y = b.Op("Identity", {x});
  y = b.Relu(b.Op("Cast", {y}, {{"to", int64_t{1}}}));
  b.Output(b.Op("Identity", {y}), "y");
  b.Output(b.Op("Cast", {y}, {{"to", int64_t{7}}}), "integers");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(EliminateIdentities(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Relu", "Cast"));
  EXPECT_EQ(graph.value(graph.outputs()[0]).name, "y");
  EXPECT_EQ(graph.nodes()[0].inputs[0], x);
  EXPECT_TRUE(InferShapes(graph).ok()) << InferShapes(graph);
}

TEST(CleanUpTest, AnIdentityBetweenInputAndOutputStays) {
  Builder b("g");
  b.Output(b.Op("Identity", {b.Input("x", DType::kFloat32, {3})}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(EliminateIdentities(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Identity"));
}

// A scalar double reference of a 1x1-padded convolution with groups on [C, H, W], and of a batch
// norm.
struct Image {
  int64_t channels, height, width;
  std::vector<double> data;
  double At(int64_t c, int64_t y, int64_t x) const {
    if (y < 0 || x < 0 || y >= height || x >= width) return 0.0;
    return data[(c * height + y) * width + x];
  }
};

Image Convolve(const Image& in, const Tensor& weight, const Tensor* bias, int64_t group) {
  const auto w = weight.span<float>();
  const int64_t outs = weight.dim(0), ins = weight.dim(1), k = weight.dim(2);
  Image out{outs, in.height, in.width, {}};
  for (int64_t o = 0; o < outs; ++o) {
    for (int64_t y = 0; y < in.height; ++y) {
      for (int64_t x = 0; x < in.width; ++x) {
        double sum = bias == nullptr ? 0.0 : bias->span<float>()[o];
        for (int64_t i = 0; i < ins; ++i) {
          const int64_t c = o / (outs / group) * ins + i;
          for (int64_t ky = 0; ky < k; ++ky) {
            for (int64_t kx = 0; kx < k; ++kx) {
              sum +=
                  w[((o * ins + i) * k + ky) * k + kx] * in.At(c, y + ky - k / 2, x + kx - k / 2);
            }
          }
        }
        out.data.push_back(sum);
      }
    }
  }
  return out;
}

TEST(FoldBatchNormsTest, FoldedConvolutionGivesTheSameNumbers) {
  constexpr uint64_t kSeed = 11;
  for (const bool bias : {false, true}) {
    Builder b("g", kSeed);
    const ValueId x = b.Input("x", DType::kFloat32, {kAny, 4, 5, 3});
    const ValueId conv = b.Conv(x, "conv", {.channels = 6, .groups = 2, .bias = bias});
    b.Output(b.BatchNorm(conv, "bn", 0.9f, 1e-3f), "y");
    Graph graph = b.Finish().value();
    CounterRandom random(kSeed);
    for (const char* name : {"bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"}) {
      Tensor& tensor = graph.mutable_initializers().at(graph.FindValue(name)).data;
      for (float& e : tensor.mutable_span<float>()) e = 0.25f + random.NextFloat();
    }
    const Graph before = graph;
    Image image{4, 5, 3, {}};
    for (int i = 0; i < 60; ++i) image.data.push_back(random.NextNormal());
    ASSERT_TRUE(FoldBatchNorms(graph).ok());
    ASSERT_THAT(Ops(graph), ElementsAre("Conv"));
    ASSERT_TRUE(InferShapes(graph).ok());
    EXPECT_EQ(graph.value(graph.outputs()[0]).name, "y");

    auto constant = [&before](const char* name) { return before.Constant(before.FindValue(name)); };
    const Image plain =
        Convolve(image, *constant("conv.weight"), bias ? constant("conv.bias") : nullptr, 2);
    const Node& folded = graph.nodes()[0];
    const Image out =
        Convolve(image, *graph.Constant(folded.inputs[1]), graph.Constant(folded.inputs[2]), 2);
    for (size_t i = 0; i < out.data.size(); ++i) {
      const size_t c = i / 15;
      auto at = [&](const char* name) { return double{constant(name)->span<float>()[c]}; };
      const double wanted = (plain.data[i] - at("bn.running_mean")) /
                                std::sqrt(at("bn.running_var") + double{1e-3f}) * at("bn.weight") +
                            at("bn.bias");
      // 18 weights and a bias are rounded to float32 once each; inputs are below 4, scaled weights
      // below 4.
      EXPECT_NEAR(out.data[i], wanted, 19 * 4 * 4 * 0x1p-24)
          << "seed " << kSeed << " element " << i;
    }
  }
}

TEST(FoldBatchNormsTest, AConvolutionThatOthersReadStays) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 2, 4, 4});
  const ValueId conv = b.Conv(x, "conv", {.channels = 2});
  b.Output(b.Add(b.BatchNorm(conv, "bn"), conv), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FoldBatchNorms(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Conv", "BatchNormalization", "Add"));
}

TEST(FoldBatchNormsTest, EveryNormOfAResNetGoes) {
  Graph graph = BuildModel("resnet20", {}).value();
  ASSERT_TRUE(FoldBatchNorms(graph).ok());
  ASSERT_TRUE(InferShapes(graph).ok());
  for (const Node& node : graph.nodes()) EXPECT_NE(node.op, "BatchNormalization");
}

TEST(FuseActivationsTest, SwishesBecomeOneNode) {
  Builder b("g");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  x = b.Mul(x, b.Op("Sigmoid", {x}));
  x = b.Mul(b.Op("HardSigmoid", {x}, {{"alpha", 1.0f / 6.0f}, {"beta", 0.5f}}), x);
  // The default alpha is 0.2: that is no HardSwish.
  b.Output(b.Mul(x, b.Op("HardSigmoid", {x})), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FuseActivations(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("SiLU", "HardSwish", "HardSigmoid", "Mul"));
  EXPECT_TRUE(InferShapes(graph).ok());
}

TEST(FuseActivationsTest, AGateThatOthersReadStays) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  const ValueId gate = b.Op("Sigmoid", {x});
  b.Output(b.Mul(x, gate), "y");
  b.Output(gate, "gate");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FuseActivations(graph).ok());
  EXPECT_THAT(Ops(graph), ElementsAre("Sigmoid", "Mul"));
}

TEST(FuseActivationsTest, GeluIsFoundInAnyOrder) {
  for (int order = 0; order < 4; ++order) {
    Builder b("g");
    const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
    const ValueId half = b.Scalar(0.5f);
    const ValueId scaled = order % 2 == 0 ? b.Op("Div", {x, b.Scalar(static_cast<float>(M_SQRT2))})
                                          : b.Mul(b.Scalar(static_cast<float>(M_SQRT1_2)), x);
    const ValueId erf = b.Add(b.Op("Erf", {scaled}), b.Scalar(1.0f));
    const ValueId y = order < 2 ? b.Mul(b.Mul(x, erf), half) : b.Mul(erf, b.Mul(half, x));
    b.Output(y, "y");
    Graph graph = b.Finish().value();
    ASSERT_TRUE(FuseActivations(graph).ok());
    ASSERT_THAT(Ops(graph), ElementsAre("Gelu")) << order;
    EXPECT_EQ(graph.nodes()[0].inputs, std::vector<ValueId>{x});
  }
}

TEST(FuseActivationsTest, AnotherScaleIsNoGelu) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 3});
  const ValueId erf = b.Add(b.Op("Erf", {b.Op("Div", {x, b.Scalar(1.5f)})}), b.Scalar(1.0f));
  b.Output(b.Mul(b.Mul(x, erf), b.Scalar(0.5f)), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(FuseActivations(graph).ok());
  EXPECT_EQ(graph.nodes().size(), 5u);
}

TEST(SimplifyTest, BiasesOfZerosGoAndThoseThatTrainStay) {
  Builder b("g");
  const ValueId x = b.Input("x", DType::kFloat32, {kAny, 1, 1});
  const Tensor weight = Tensor::From<float>({2, 1, 1}, {1, 2});
  const Tensor zeros(DType::kFloat32, {2}), other = Tensor::From<float>({2}, {0, 1});
  for (const bool trains : {false, true}) {
    const ValueId zero = trains ? b.Parameter("learnt", zeros) : b.Constant("zero", zeros);
    b.Output(b.Op("Conv", {x, b.Parameter(trains ? "v" : "w", weight), zero}), trains ? "t" : "z");
  }
  b.Output(b.Op("Conv", {x, b.Parameter("u", weight), b.Constant("other", other)}), "o");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(Simplify(graph).ok());
  std::vector<size_t> inputs;
  for (const Node& node : graph.nodes()) inputs.push_back(node.inputs.size());
  EXPECT_THAT(inputs, ElementsAre(2u, 3u, 3u));
}

TEST(SimplifyTest, TheZooIsSimpleAlreadyAndStaysAsItIs) {
  for (const char* name : {"resnet8", "mobilenet_v3_small", "gpt_nano", "yolo_nano"}) {
    Graph graph = BuildModel(name, {}).value();
    const std::vector<std::string> before = Ops(graph);
    const int64_t parameters = graph.ParameterCount();
    ASSERT_TRUE(Simplify(graph).ok());
    EXPECT_EQ(Ops(graph), before) << name;
    EXPECT_EQ(graph.ParameterCount(), parameters);
  }
}

TEST(DescribeTest, ListsNodesShapesAndTotals) {
  const Graph graph = BuildModel("lenet", {.channels = 1, .height = 28, .width = 28}).value();
  const std::string text = Describe(graph);
  EXPECT_THAT(text, HasSubstr("input input float32[?, 1, 28, 28]"));
  EXPECT_THAT(text, HasSubstr("output logits float32[?, 10]"));
  EXPECT_THAT(text, testing::ContainsRegex("conv1 +Conv +\\[\\?, 6, 28, 28\\] +156 +117,600"));
  EXPECT_THAT(text, testing::ContainsRegex("total +[0-9]+ nodes +61,706 +416,520"));
}

TEST(ReplaceClassifierTest, GemmMatMulAndConvHeadsGetNewClasses) {
  for (const char* kind : {"gemm", "matmul", "conv"}) {
    Builder b("g", 1);
    ValueId x = b.Input("x", DType::kFloat32, {kAny, 8, 4, 4});
    if (std::string(kind) == "conv") {
      x = b.Flatten(
          b.GlobalAveragePool(b.Conv(x, "head", {.channels = 10, .kernel = 1, .bias = true})));
    } else {
      x = b.Flatten(b.GlobalAveragePool(x));
      x = std::string(kind) == "gemm" ? b.Linear(x, "head", 10) : b.TokenLinear(x, "head", 10);
    }
    b.Output(b.Op("Softmax", {x}), "y");
    Graph graph = b.Finish().value();
    const Graph before = graph;
    ASSERT_TRUE(ReplaceClassifier(graph, 10, 3).ok());
    EXPECT_EQ(graph.Constant(graph.FindValue("head.weight"))->data(),
              before.Constant(before.FindValue("head.weight"))->data());
    const absl::Status status = ReplaceClassifier(graph, 7, 3);
    ASSERT_TRUE(status.ok()) << kind << status;
    EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{kAny, 7})) << kind;
    EXPECT_EQ(graph.ParameterCount(), 7 * 8 + 7);
    double squares = 0;
    for (float w : graph.Constant(graph.FindValue("head.weight"))->span<float>()) {
      EXPECT_LE(std::abs(w), 1.0 / std::sqrt(8.0));
      squares += w * w;
    }
    EXPECT_GT(squares, 0.0);
  }
}

TEST(ReplaceClassifierTest, SaysWhereTheSearchEnded) {
  Builder b("g");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 8});
  b.Output(b.Op("Tanh", {b.Linear(x, "fc", 4)}, {}, "last"), "scores");
  Graph graph = b.Finish().value();
  const std::string message(ReplaceClassifier(graph, 3, 0).message());
  EXPECT_THAT(message, testing::AllOf(HasSubstr("'scores'"), HasSubstr("'last' (Tanh)")));
  Graph detector = BuildModel("yolo_nano", {}).value();
  EXPECT_THAT(std::string(ReplaceClassifier(detector, 3, 0).message()), HasSubstr("3 outputs"));
  EXPECT_FALSE(ReplaceClassifier(graph, 0, 0).ok());
}

TEST(ReplaceClassifierTest, ATemperatureAndAReshapeThatNamesTheClassesStandBehindTheHead) {
  Builder b("g", 1);
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 8, 4, 4});
  x = b.Relu(b.Conv(x, "head", {.channels = 10, .kernel = 1, .bias = true}));
  x = b.Reshape(b.GlobalAveragePool(x), {-1, 10});
  b.Output(b.Op("Div", {x, b.Scalar(0.5f)}), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(ReplaceClassifier(graph, 7, 3).ok());
  EXPECT_EQ(graph.value(graph.outputs()[0]).shape, (Shape{kAny, 7}));
  EXPECT_EQ(graph.ParameterCount(), 7 * 8 + 7);
  EXPECT_TRUE(graph.Validate().ok());
}

TEST(ReplaceClassifierTest, OneClassWithABiasOfOneNumberBecomesSeveral) {
  Builder b("g", 1);
  b.Output(b.TokenLinear(b.Input("x", DType::kFloat32, {kAny, 8}), "head", 1), "y");
  Graph graph = b.Finish().value();
  ASSERT_TRUE(ReplaceClassifier(graph, 3, 3).ok());
  EXPECT_EQ(graph.ParameterCount(), 8 * 3 + 3) << "the bias too, not one for all classes";
}

TEST(ReplaceClassifierTest, WhereAReshapeNamesTheirNumberTwiceItIsNotGuessed) {
  Builder b("g", 1);
  ValueId x = b.Linear(b.Input("x", DType::kFloat32, {kAny, 8}), "fc", 4);
  b.Output(b.Reshape(b.Reshape(x, {-1, 4, 1}), {4, 4}), "y");
  Graph graph = b.Finish().value();
  const std::string message(ReplaceClassifier(graph, 3, 0).message());
  EXPECT_THAT(message, HasSubstr("twice"));
  EXPECT_EQ(graph.ParameterCount(), 4 * 8 + 4) << "as it was";
}

TEST(ReplaceClassifierTest, ALaterFixedShapeLeavesTheGraphAsItWas) {
  Builder b("g");
  ValueId x = b.Input("x", DType::kFloat32, {kAny, 8});
  b.Output(b.Reshape(b.Linear(x, "fc", 6), {0, 2, 3}), "y");
  Graph graph = b.Finish().value();
  EXPECT_FALSE(ReplaceClassifier(graph, 5, 0).ok());
  EXPECT_EQ(graph.ParameterCount(), 8 * 6 + 6);
  EXPECT_TRUE(InferShapes(graph).ok());
}

TEST(InitializationTest, DrawsAreBoundedAndSeeded) {
  const Tensor uniform = UniformWeights({1009}, 0.25, 1, "w");
  for (float w : uniform.span<float>()) {
    EXPECT_GE(w, -0.25f);
    EXPECT_LE(w, 0.25f);
  }
  const Tensor normal = NormalWeights({7}, 1.0, 1, "w");
  const Tensor same = NormalWeights({7}, 1.0, 1, "w");
  const Tensor other_name = NormalWeights({7}, 1.0, 1, "v");
  const Tensor other_seed = NormalWeights({7}, 1.0, 2, "w");
  EXPECT_EQ(normal.bytes(), same.bytes());
  EXPECT_NE(normal.bytes(), other_name.bytes());
  EXPECT_NE(normal.bytes(), other_seed.bytes());
  EXPECT_EQ(NormalWeights({0}, 1.0, 1, "w").num_elements(), 0);
}

}  // namespace
}  // namespace ds
