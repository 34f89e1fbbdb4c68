// Repairs without training: learnt rounding against brute force and closed forms, equalisation by
// the network's outputs, dead channels.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "deploy/insert_qdq.h"
#include "executor/graph_module.h"
#include "gmock/gmock.h"
#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "quant/affine.h"
#include "quant/reconstruction_units.h"
#include "quant/repair/channel_spread.h"
#include "quant/repair/equalization.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/reconstruction/adaround.h"
#include "quant/torch/reconstruction/soft_rounding.h"
#include "quant/weight_params.h"
#include "tests/executor/graph_outputs.h"
#include "tests/quant/torch/batches.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kSeed = 20261124;

double SquaredError(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).to(at::kDouble).square().mean().item<double>();
}

at::Tensor Images(int64_t count, int64_t channels, int64_t side, uint64_t seed = kSeed) {
  at::manual_seed(seed);
  // Smooth, as images are: neighbours resemble each other, which is what learnt rounding makes use
  // of.
  return at::avg_pool2d(at::randn({count, channels, side + 2, side + 2}), {3, 3}, {1, 1}) * 3;
}

TEST(SoftRounding, TheRectifiedSigmoidAndItsRegulariserAreTheirClosedForms) {
  for (const double v : {-9.0, -2.5, -2.3, -0.7, 0.0, 0.4, 2.3, 2.5, 9.0}) {
    const double h = std::min(1.0, std::max(0.0, 1.2 / (1 + std::exp(-v)) - 0.1));
    EXPECT_NEAR(RectifiedSigmoid(at::scalar_tensor(v, at::kDouble)).item<double>(), h, 1e-12) << v;
    for (const double beta : {2.0, 7.5, 20.0}) {
      EXPECT_NEAR(RoundingRegulariser(at::scalar_tensor(h, at::kDouble), beta).item<double>(),
                  1 - std::pow(std::abs(2 * h - 1), beta), 1e-12);
    }
  }
}

TEST(SoftRounding, StartsAsTheWeightAndEndsAtCodesThatThePlanKeeps) {
  at::manual_seed(kSeed);
  const Tensor weight = *FromTorch(at::randn({70, 6}));
  for (const WeightQuantOptions& options :
       {WeightQuantOptions{.bits = 3, .axis = 1},
        WeightQuantOptions{.bits = 4, .axis = 0, .group = 32},
        WeightQuantOptions{.bits = 4, .axis = QuantParams::kWholeTensor}}) {
    const QuantParams params = *ChooseWeightParams(weight.span<float>(), weight.shape(), options);
    const auto rounding = SoftRounding::Create(weight, params);
    ASSERT_TRUE(rounding.ok()) << rounding.status();
    const at::NoGradGuard no_grad;
    EXPECT_LT((rounding->Soft() - ToTorch(weight)).abs().max().item<double>(),
              1e-5);  // min-max scales clip nothing
    EXPECT_EQ(rounding->Flipped(), 0);
    std::vector<float> nearest(static_cast<size_t>(weight.num_elements()));
    FakeQuantize(weight.span<float>(), weight.shape(), params, absl::MakeSpan(nearest));
    const Tensor mine = *FromTorch(rounding->Nearest());
    EXPECT_EQ(std::vector<float>(mine.span<float>().begin(), mine.span<float>().end()), nearest);
    // Every choice turned round: codes other than the nearest, and still ones that the plan keeps.
    rounding->variable().neg_();
    EXPECT_GT(rounding->Flipped(), weight.num_elements() / 2);
    const Tensor hard = *FromTorch(rounding->Hard());
    FakeQuantize(hard.span<float>(), hard.shape(), params, absl::MakeSpan(nearest));
    EXPECT_EQ(std::vector<float>(hard.span<float>().begin(), hard.span<float>().end()), nearest);
  }
}

TEST(SoftRounding, PrunedWeightsStayZeroWhateverIsLearnt) {
  const Tensor weight = Tensor::From<float>({1, 4}, {0.9f, 0.0f, -0.4f, 0.0f});
  const QuantParams params = *ChooseWeightParams(weight.span<float>(), weight.shape(), {.bits = 4});
  const auto rounding = SoftRounding::Create(weight, params);
  ASSERT_TRUE(rounding.ok()) << rounding.status();
  const at::NoGradGuard no_grad;
  rounding->variable().fill_(9);  // all up
  for (const at::Tensor& values : {rounding->Soft(), rounding->Hard()}) {
    EXPECT_EQ(values.ne(0).sum().item<int64_t>(), 2);
    EXPECT_EQ(values[0][1].item<float>(), 0);
    EXPECT_EQ(values[0][3].item<float>(), 0);
  }
}

// One output of 8 inputs that are alike: the best of the 2^8 roundings makes the errors cancel;
// nearest rounding lets them add up. Learning need not end at the best, but most of the way to it.
TEST(AdaRound, ClosesMostOfTheGapBetweenNearestAndTheBestRounding) {
  const std::vector<float> weights = {0.30f, 0.40f, 0.31f, 0.45f, 0.35f, -0.62f, 1.40f, 0.42f};
  Builder b("layer", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 8});
  const ValueId w = b.Parameter("w", Tensor::From<float>({8, 1}, weights));
  b.Output(b.Op("MatMul", {x, w}, {}, "m"), "y");
  Graph graph = *b.Finish();
  at::manual_seed(kSeed);
  const at::Tensor data = at::randn({512, 1}) + 0.3 * at::randn({512, 8});
  QuantPlan plan = {
      .weights = {
          {"w", {.type = {4, true, true}, .axis = 1, .scales = {1.0f}, .zero_points = {0}}}}};
  const at::Tensor wanted =
      data.to(at::kDouble).matmul(ToTorch(Tensor::From<float>({8, 1}, weights)).to(at::kDouble));
  const auto error = [&](const at::Tensor& rounded) {
    return (data.to(at::kDouble).matmul(rounded.to(at::kDouble)) - wanted)
        .square()
        .mean()
        .item<double>();
  };
  double best = std::numeric_limits<double>::infinity(), nearest = 0;
  for (int choice = 0; choice < 256; ++choice) {
    at::Tensor rounded = at::empty({8, 1});
    for (int i = 0; i < 8; ++i)
      rounded[i][0] = std::floor(weights[static_cast<size_t>(i)]) + ((choice >> i) & 1);
    best = std::min(best, error(rounded));
  }
  at::Tensor plain = at::empty({8, 1});
  for (int i = 0; i < 8; ++i) plain[i][0] = std::nearbyint(weights[static_cast<size_t>(i)]);
  nearest = error(plain);
  const auto units =
      ReconstructRounding(graph, SelectForQuantization(graph), plan, {data},
                          {.method = "adaround", .iterations = 800, .regularisation = 0.1});
  ASSERT_TRUE(units.ok()) << units.status();
  const double learnt = error(ToTorch(*graph.Constant(graph.FindValue("w"))));
  EXPECT_LT(best, 0.2 * nearest);
  EXPECT_LE(learnt - best, 0.2 * (nearest - best)) << "nearest rounding has " << nearest;
  ASSERT_EQ(units->size(), 1u);
  EXPECT_NEAR((*units)[0].nearest_error, nearest, 1e-3 * nearest);
  EXPECT_NEAR((*units)[0].error, learnt, 1e-3 * learnt);
}

TEST(ReconstructionUnits, AreLayersInAChainAndBlocksAroundShortcuts) {
  Graph graph = *BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  const auto model = Quantizer(graph).calibrate(Batches({Images(2, 1, 16)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<ReconstructionUnit> units =
      ReconstructionUnits(model->graph, SelectForQuantization(model->graph));
  ASSERT_EQ(units.size(), 5u);  // the stem, three blocks, the classifier with its pool
  int next = 0;
  for (const ReconstructionUnit& unit : units) {
    EXPECT_EQ(unit.inputs.size(), 1u);
    EXPECT_EQ(unit.outputs.size(), 1u);
    for (const int n : unit.nodes) EXPECT_EQ(n, next++);
  }
  EXPECT_EQ(model->graph.nodes()[static_cast<size_t>(units[1].nodes.back())].op, "Relu");
  EXPECT_EQ(model->graph.nodes()[static_cast<size_t>(units[4].nodes.front())].op,
            "GlobalAveragePool");
}

struct Outcome {
  double held_out = 0;
  QuantizedModel model;
};

// `iterations`: a quarter of the usual ones, each four times as long, for time's sake.
Outcome Quantised(const Graph& graph, QuantizerOptions options, const at::Tensor& test,
                  int iterations = 150) {
  options.reconstruction.iterations = iterations;
  options.reconstruction.learning_rate = 0.08;
  auto model = Quantizer(graph, options).calibrate(Batches({Images(64, 1, 16)})).convert();
  EXPECT_TRUE(model.ok()) << model.status();
  const auto placed = InsertQdq(model->graph, model->plan);
  EXPECT_TRUE(placed.ok()) << placed.status();
  return {SquaredError(Outputs(*placed, test), Outputs(graph, test)), *std::move(model)};
}

absl::Span<const float> WeightOf(const QuantizedModel& model, const std::string& name) {
  return model.graph.Constant(model.graph.FindValue(name))->span<float>();
}

// The graph that is measured is the one that is exported, integers and all. QDrop is for few bits
// in activations.
TEST(AdaRound, TheExportedNetworkIsCloserToTheFloatOneOnImagesNotSeen) {
  const Graph graph =
      *BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  const at::Tensor test = Images(64, 1, 16, kSeed + 1);
  for (const auto& [method, activation_bits, most] :
       {std::tuple("adaround", 8, 0.8), std::tuple("qdrop", 4, 0.9)}) {
    QuantizerOptions options = {.bits = 2, .activation_bits = activation_bits, .method = "mse"};
    const Outcome plain = Quantised(graph, options, test);
    options.reconstruction.method = method;
    const Outcome learnt = Quantised(graph, options, test);
    EXPECT_LT(learnt.held_out, most * plain.held_out) << method << " A" << activation_bits;
    ASSERT_EQ(learnt.model.units.size(), 5u);
    int64_t flipped = 0;
    for (const UnitReconstruction& unit : learnt.model.units) {
      EXPECT_LE(unit.error, unit.nearest_error) << unit.last;
      flipped += unit.flipped;
    }
    EXPECT_GT(flipped, 0);
    // Weights that were learnt are their own codes' reals, which the plan keeps; the others are as
    // they were.
    for (const auto& [name, params] : learnt.model.plan.weights) {
      const absl::Span<const float> weight = WeightOf(learnt.model, name),
                                    before = WeightOf(plain.model, name);
      std::vector<float> rounded(weight.size());
      FakeQuantize(weight, learnt.model.graph.Constant(learnt.model.graph.FindValue(name))->shape(),
                   params, absl::MakeSpan(rounded));
      EXPECT_TRUE(weight == absl::MakeConstSpan(rounded) || weight == before) << name;
    }
  }
}

// One step too small to turn a code round: nearest rounding stays, with the bias that is right for
// it, which the convolution did not have.
TEST(AdaRound, AConvolutionWithoutABiasGetsTheCorrectedOne) {
  Builder b("no bias", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4, 6, 6});
  b.Output(b.Conv(x, "conv", {.channels = 5, .kernel = 1}), "y");
  const Graph graph = *b.Finish();
  ASSERT_EQ(graph.nodes()[0].inputs.size(), 2u);
  const at::Tensor images = Images(32, 4, 6) + 1.5;  // means far from 0
  const auto shift = [&](const char* method) {
    const QuantizerOptions options = {
        .bits = 2,
        .end_bits = 2,
        .method = "mse",
        .reconstruction = {.method = method, .iterations = 1, .learning_rate = 1e-9}};
    const auto model = Quantizer(graph, options).calibrate(Batches({images})).convert();
    EXPECT_TRUE(model.ok()) << model.status();
    const Graph& finished = model->graph;
    const Tensor& weight = *finished.Constant(finished.nodes()[0].inputs[1]);
    Tensor rounded = weight.Clone();
    FakeQuantize(weight.span<float>(), weight.shape(), model->plan.weights.begin()->second,
                 rounded.mutable_span<float>());
    const at::NoGradGuard no_grad;
    const at::Tensor bias = finished.nodes()[0].inputs.size() > 2
                                ? ToTorch(*finished.Constant(finished.nodes()[0].inputs[2]))
                                : at::zeros({5});
    const at::Tensor got =
        at::conv2d(Rounded(images, model->plan.activations.at("x")).to(at::kDouble),
                   ToTorch(rounded).to(at::kDouble), bias.to(at::kDouble));
    const at::Tensor wanted = Outputs(graph, images).to(at::kDouble);
    return (got - wanted).mean({0, 2, 3}).abs().max().item<double>();
  };
  EXPECT_LT(shift("adaround"), 1e-3);
  EXPECT_NEAR(shift("adaround"), shift("none"), 1e-6);
}

TEST(Reconstruction, AutoLearnsWhereBitsAreFew) {
  const Graph graph =
      *BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  const auto learns = [&](int bits, int activation_bits) {
    const QuantizerOptions options = {
        .bits = bits,
        .activation_bits = activation_bits,
        .method = "min-max",
        .reconstruction = {.method = "auto", .samples = 4, .iterations = 2, .batch = 4}};
    const auto model = Quantizer(graph, options).calibrate(Batches({Images(4, 1, 16)})).convert();
    EXPECT_TRUE(model.ok()) << model.status();
    // gptq's units are single layers.
    return std::ranges::any_of(
        model->units, [](const UnitReconstruction& unit) { return unit.first != unit.last; });
  };
  EXPECT_FALSE(learns(8, 8));
  EXPECT_FALSE(learns(5, 5));
  EXPECT_TRUE(learns(4, 8));
  EXPECT_TRUE(learns(8, 4));
}

TEST(AdaRound, OneSeedGivesOneResultAndAnotherSeedOrMethodAnother) {
  const Graph graph =
      *BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  const at::Tensor test = Images(8, 1, 16, kSeed + 1);
  constexpr int kIterations = 25;  // enough to turn some codes round
  QuantizerOptions options = {
      .bits = 3, .activation_bits = 4, .method = "mse", .reconstruction = {.method = "qdrop"}};
  const double first = Quantised(graph, options, test, kIterations).held_out;
  EXPECT_EQ(Quantised(graph, options, test, kIterations).held_out, first);
  // What qdrop leaves unrounded by chance is what it differs from adaround by.
  options.reconstruction.method = "adaround";
  EXPECT_NE(Quantised(graph, options, test, kIterations).held_out, first);
  options.reconstruction = {.method = "qdrop", .seed = 2};
  EXPECT_NE(Quantised(graph, options, test, kIterations).held_out, first);
}

TEST(AdaRound, OptionsOutOfRangeAreNamed) {
  const Graph graph =
      *BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  const auto words = [&](ReconstructionOptions options) {
    return std::string(Quantizer(graph, {.reconstruction = options})
                           .calibrate(Batches({Images(2, 1, 16)}))
                           .convert()
                           .status()
                           .message());
  };
  EXPECT_THAT(words({.method = "round"}), HasSubstr("\"round\""));
  EXPECT_THAT(words({.method = "qdrop", .samples = 0}), HasSubstr("samples"));
  EXPECT_THAT(words({.method = "qdrop", .iterations = 0}), HasSubstr("iterations"));
  EXPECT_THAT(words({.method = "qdrop", .learning_rate = std::nan("")}),
              HasSubstr("learning_rate"));
  EXPECT_THAT(words({.method = "qdrop", .warm_up = 1}), HasSubstr("warm_up"));
  EXPECT_THAT(words({.method = "qdrop", .drop = 1.5}), HasSubstr("drop"));
}

// Inverted residuals without shortcuts, Relu in place of Relu6, channels of magnitudes 2^-4 to 2^4.
Graph SpreadNet() {
  Builder b("spread", kSeed);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 12, 12});
  for (const char* block : {"one", "two"}) {
    const std::string name = block;
    x = b.Relu(b.Conv(x, name + ".expand", {.channels = 24, .kernel = 1, .bias = true}));
    x = b.Relu(b.Conv(x, name + ".depthwise", {.channels = 24, .groups = 24, .bias = true}));
    x = b.Relu(b.Conv(x, name + ".project", {.channels = 8, .kernel = 1, .bias = true}));
  }
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(x)), "fc", 10), "y");
  Graph graph = *b.Finish();
  at::manual_seed(kSeed);
  // Powers of two: the function is the same to the last bit.
  const auto scale = [&](const std::string& name, const at::Tensor& by) {
    Tensor& data = graph.mutable_initializers().at(graph.FindValue(name)).data;
    const at::Tensor old = ToTorch(data);
    Shape along(static_cast<size_t>(old.dim()), 1);
    along[by.numel() == old.size(0) ? 0 : 1] = by.numel();
    data = *FromTorch(old * by.reshape(along));
  };
  for (const std::string name : {"one", "two"}) {
    const at::Tensor spread = at::exp2(at::randint(-4, 5, {24}).to(at::kFloat));
    scale(name + ".expand.weight", spread);
    scale(name + ".expand.bias", spread);
    scale(name + ".depthwise.weight", 1 / spread);
  }
  return graph;
}

TEST(Equalization, LeavesTheFunctionAsItWas) {
  const Graph before = SpreadNet();
  Graph after = before;
  const auto report = EqualizeLayers(after);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->pairs.size(), 5u);
  const at::Tensor images = Images(16, 3, 12);
  const at::Tensor was = Outputs(before, images), is = Outputs(after, images);
  EXPECT_LT((is - was).abs().max().item<double>(), 1e-5 * was.abs().max().item<double>());
  EXPECT_GT(was.abs().max().item<double>(), 0);
}

TEST(Equalization, OneScaleForAnActivationThenServesAllItsChannels) {
  const Graph graph = SpreadNet();
  const at::Tensor images = Images(64, 3, 12), test = Images(64, 3, 12, kSeed + 1);
  const auto error = [&](const char* equalization) {
    const auto model = Quantizer(graph, {.activation_bits = 6,
                                         .end_bits = 6,
                                         .method = "mse",
                                         .bias_correction = false,  // which makes up for half of it
                                         .equalization = equalization})
                           .calibrate(Batches({images}))
                           .convert();
    EXPECT_TRUE(model.ok()) << model.status();
    return SquaredError(Outputs(*InsertQdq(model->graph, model->plan), test), Outputs(graph, test));
  };
  EXPECT_LT(error("on"), 0.5 * error("off"));
  EXPECT_EQ(error("auto"), error("on"));
}

TEST(Equalization, IsChosenByItselfOnlyWhereDepthwiseChannelsAreFarApart) {
  const Graph graph = SpreadNet();
  const at::Tensor images = Images(64, 3, 12);
  EXPECT_GT(*DepthwiseSpread(graph), 4);
  const auto equalized = [&](const Graph& of, QuantizerOptions options) {
    auto model = Quantizer(of, std::move(options)).calibrate(Batches({images})).convert();
    EXPECT_TRUE(model.ok()) << model.status();
    return model->equalized;
  };
  EXPECT_TRUE(equalized(graph, {}));
  EXPECT_FALSE(equalized(graph, {.equalization = "off"}));
  // A plan for training is one of the model as it is.
  EXPECT_FALSE(equalized(graph, {.for_training = true}));
  // The same network, its channels brought together.
  Graph together = graph;
  ASSERT_TRUE(EqualizeLayers(together).ok());
  EXPECT_LT(*DepthwiseSpread(together), 1.01);
  EXPECT_FALSE(equalized(together, {}));
  EXPECT_EQ(Quantizer(graph, {.equalization = "maybe"}).convert().status().code(),
            absl::StatusCode::kInvalidArgument);
}

// A channel whose weights all but vanish beside its bias.
TEST(BiasRepair, ADeadChannelIsNamedAndTheNetworkIsAsItWas) {
  Builder b("net", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 8, 8});
  b.Output(b.GlobalAveragePool(b.Conv(b.Relu(b.Conv(x, "first", {.channels = 6, .bias = true})),
                                      "second", {.channels = 4, .bias = true})),
           "y");
  Graph graph = *b.Finish();
  const auto weight =
      graph.mutable_initializers().at(graph.FindValue("second.weight")).data.mutable_span<float>();
  for (size_t i = 2 * 54; i < 3 * 54; ++i) weight[i] *= 1e-13f;
  graph.mutable_initializers().at(graph.FindValue("second.bias")).data =
      Tensor::From<float>({4}, {0.1f, -0.2f, 0.7f, 0.3f});
  const at::Tensor images = Images(16, 3, 8);
  for (const char* method : {"none", "adaround"}) {
    QuantizerOptions options = {.reconstruction = {.method = method, .iterations = 50}};
    const auto model = Quantizer(graph, options).calibrate(Batches({images})).convert();
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_THAT(model->warnings, ::testing::Contains(::testing::AllOf(HasSubstr("\"second\""),
                                                                      HasSubstr("channel 2 "))));
    QdqReport report;
    const auto placed = InsertQdq(model->graph, model->plan, {}, &report);
    ASSERT_TRUE(placed.ok()) << placed.status();
    EXPECT_TRUE(report.enlarged.empty()) << "nothing is left for the exporter to mend";
    const at::Tensor exact = Outputs(graph, images), got = Outputs(*placed, images);
    EXPECT_LT((got - exact).select(1, 2).abs().max().item<double>(), 0.05);
    EXPECT_NEAR(got.select(1, 2).mean().item<double>(), 0.7, 0.05);
  }
}

}  // namespace
}  // namespace ds
