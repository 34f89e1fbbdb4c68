#include "quant/torch/quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "executor/graph_module.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/affine.h"
#include "quant/selection.h"
#include "quant/torch/floating/output_noise.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/small_net.h"

namespace ds {
namespace {

TEST(Quantizer, GivesEveryLayerItsBitsAndTheEndsMore) {
  const auto model = Quantizer(SmallNet(), {.bits = 4, .activation_bits = 6})
                         .calibrate(Batches({Images(8)}))
                         .convert();
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->layers.size(), model->plan.weights.size());
  ASSERT_GE(model->layers.size(), 8u);
  for (size_t i = 0; i < model->layers.size(); ++i) {
    const LayerReport& layer = model->layers[i];
    const bool end = i == 0 || i + 1 == model->layers.size();
    EXPECT_EQ(layer.weight_bits, end ? 8 : 4) << layer.node;
    EXPECT_EQ(model->plan.weights.at(layer.weight).type.bits, layer.weight_bits);
    // No worse than a normal distribution would be: a scale a channel and a search help.
    EXPECT_GT(layer.weight_snr_db, layer.gaussian_snr_db - 1) << layer.node;
    EXPECT_LT(layer.weight_snr_db, layer.gaussian_snr_db + 12) << layer.node;
  }
  for (const ActivationReport& activation : model->activations) {
    EXPECT_TRUE(activation.bits == 6 || activation.bits == 8) << activation.value;
    EXPECT_GT(activation.snr_db, 15) << activation.value;
    EXPECT_EQ(model->plan.activations.at(activation.value).type.bits, activation.bits);
  }
  EXPECT_EQ(model->activations.front().bits, 8);  // the image
  for (const Node& node : model->graph.nodes()) EXPECT_NE(node.op, "BatchNormalization");
}

// A network whose classifier is most of its weights.
Graph LargeClassifier() {
  Builder b("large classifier", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 1, 16, 16});
  const ValueId y = b.Relu(b.Conv(x, "conv", {.channels = 64}));
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(y)), "head", 1024), "y");
  return b.Finish().value();
}

TEST(Quantizer, ALargeClassifierHasBlocksOfFewBitsWhereTheErrorAllows) {
  const auto head = [](const Graph& graph, const QuantizerOptions& options) {
    const auto model = Quantizer(graph, options).calibrate(Batches({Images(8)})).convert();
    EXPECT_TRUE(model.ok()) << model.status();
    const QuantParams& params = model->plan.weights.at(model->layers.back().weight);
    return std::pair(params.type.bits, params.group);
  };
  const Graph graph = LargeClassifier();
  EXPECT_EQ(head(graph, {.bits = 4}), std::pair(4, int64_t{32}));
  EXPECT_EQ(head(graph, {.bits = 4, .block_classifier = false}), std::pair(8, int64_t{0}));
  EXPECT_EQ(head(graph, {.bits = 8}), std::pair(8, int64_t{0}));
  EXPECT_EQ(head(graph, {.bits = 4, .symmetric_activations = true}), std::pair(8, int64_t{0}));
  // 2 bits lose more than a hundredth of the outputs' power.
  EXPECT_EQ(head(graph, {.bits = 2}), std::pair(8, int64_t{0}));
}

// Each picture's brightest spot decides. For the layer that follows it is one value of many, which
// is cheap to clip.
TEST(Quantizer, ClipsNoMoreThanTheOutputsAllow) {
  Builder b("peaks", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 1, 16, 16});
  const ValueId y = b.Relu(b.Conv(x, "first", {.channels = 8}));
  const ValueId z = b.Relu(b.Conv(y, "second", {.channels = 8}));
  const ValueId peaks = b.MaxPool(z, {.kernel = 16, .stride = 16});
  b.Output(b.Linear(b.Flatten(peaks), "head", 4), "logits");
  const Graph graph = b.Finish().value();
  at::Tensor images = Images(16);
  images.select(2, 7).select(2, 9).add_(8.0);  // of each picture one pixel
  const auto error = [&](const std::string& method) {
    const auto model = Quantizer(graph, {.activation_bits = 4,
                                         .end_bits = 4,
                                         .method = method,
                                         .bias_correction = false,
                                         .reconstruction = {.method = "none"}})
                           .calibrate(Batches({images}))
                           .convert();
    EXPECT_TRUE(model.ok()) << model.status();
    return RoundedOutputError(model->calibrated, model->graph, model->plan, {{images}}).value();
  };
  const double whole = error("min-max"), clipped = error("mse");
  ASSERT_GT(clipped, 2 * whole);  // or this shows nothing
  EXPECT_LE(error("auto"), 1.0001 * whole);
}

// What goes into sums alone keeps 8 bits, unless that is asked for otherwise.
TEST(Quantizer, ResidualBranchesHaveTheirOwnBits) {
  for (const int sum_bits : {2, 5, 8}) {
    const auto model =
        Quantizer(SmallNet(), {.activation_bits = 4, .sum_bits = sum_bits, .method = "mse"})
            .calibrate(Batches({Images(2)}))
            .convert();
    ASSERT_TRUE(model.ok()) << model.status();
    const QuantSelection selection = SelectForQuantization(model->calibrated);
    int added = 0;
    for (const ActivationSite& site : selection.activations) {
      if (!OnlyAdded(model->calibrated, site)) continue;
      ++added;
      EXPECT_EQ(model->plan.activations.at(model->calibrated.value(site.value).name).type.bits,
                std::max(4, sum_bits));
    }
    EXPECT_EQ(added, 3 + 2);  // a block's second convolution; a shortcut's
  }
}

TEST(Quantizer, NamedActivationsHaveTheirOwnBits) {
  const auto plain =
      Quantizer(SmallNet(), {.method = "mse"}).calibrate(Batches({Images(2)})).convert();
  ASSERT_TRUE(plain.ok()) << plain.status();
  const std::string name = plain->activations[2].value;
  const auto model = Quantizer(SmallNet(), {.method = "mse", .named_bits = {{name, 3}}})
                         .calibrate(Batches({Images(2)}))
                         .convert();
  ASSERT_TRUE(model.ok()) << model.status();
  for (const ActivationReport& activation : model->activations)
    EXPECT_EQ(activation.bits, activation.value == name ? 3 : 8) << activation.value;
}

TEST(Quantizer, NamedWeightsHaveTheirOwnBits) {
  auto first = Quantizer(SmallNet(), {}).calibrate(Batches({Images(2)})).convert();
  ASSERT_TRUE(first.ok()) << first.status();
  const std::string name = first->layers[2].weight;
  const auto model =
      Quantizer(SmallNet(), {.named_bits = {{name, 3}}}).calibrate(Batches({Images(2)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->plan.weights.at(name).type.bits, 3);
  EXPECT_EQ(model->layers[2].weight_bits, 3);
}

TEST(Quantizer, OnePassOrManyIsTheSamePlan) {
  const at::Tensor images = Images(24);
  const auto whole =
      Quantizer(SmallNet(), {.method = "mse"}).calibrate(Batches({images})).convert();
  Quantizer parts(SmallNet(), {.method = "mse"});
  for (int64_t i = 0; i < 3; ++i) parts.calibrate(Batches({images.narrow(0, 8 * i, 8)}));
  const auto pieces = parts.convert();
  ASSERT_TRUE(whole.ok() && pieces.ok()) << whole.status() << pieces.status();
  ASSERT_EQ(whole->plan.activations.size(), pieces->plan.activations.size());
  for (const auto& [name, params] : whole->plan.activations) {
    // A convolution over more images at once may round its last bit differently.
    EXPECT_NEAR(pieces->plan.activations.at(name).scales[0], params.scales[0],
                1e-5f * params.scales[0])
        << name;
  }
}

// One convolution of 1x1: what correction promises can be computed by hand.
TEST(Quantizer, BiasCorrectionKeepsTheMeanOfALayersOutputs) {
  Builder b("one layer", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 5, 6, 6});
  b.Output(b.Conv(x, "conv", {.channels = 7, .kernel = 1, .bias = true}), "y");
  auto graph = b.Finish();
  ASSERT_TRUE(graph.ok()) << graph.status();
  const at::Tensor images = Images(32, 5, 6) + 1.5;  // means far from 0
  const auto mean_shift = [&](bool correct) {
    const auto model = Quantizer(*graph, {.bits = 2, .end_bits = 2, .bias_correction = correct})
                           .calibrate(Batches({images}))
                           .convert();
    EXPECT_TRUE(model.ok()) << model.status();
    const Node& node = model->graph.nodes()[0];
    const Tensor& weight = *model->graph.Constant(node.inputs[1]);
    Tensor rounded = weight.Clone();
    FakeQuantize(weight.span<float>(), weight.shape(), model->plan.weights.begin()->second,
                 rounded.mutable_span<float>());
    const at::NoGradGuard no_grad;
    const at::Tensor exact = (*(*GraphModule::Create(*graph))->Forward({images}))[0];
    const at::Tensor got =
        at::conv2d(Rounded(images, model->plan.activations.at("x")), ToTorch(rounded),
                   ToTorch(*model->graph.Constant(node.inputs[2])));
    return (got.mean({0, 2, 3}) - exact.mean({0, 2, 3})).abs().max().item<double>();
  };
  EXPECT_GT(mean_shift(false), 0.02);
  EXPECT_LT(mean_shift(true), 1e-3);
}

TEST(Quantizer, BadInputIsOneClearError) {
  const auto says = [](const absl::StatusOr<QuantizedModel>& model, absl::StatusCode code,
                       const char* words) {
    EXPECT_EQ(model.status().code(), code) << model.status();
    EXPECT_NE(std::string(model.status().message()).find(words), std::string::npos)
        << model.status();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  says(Quantizer(SmallNet()).convert(), absl::StatusCode::kFailedPrecondition, "calibrate()");
  says(Quantizer(SmallNet()).calibrate(Batches({})).convert(),
       absl::StatusCode::kFailedPrecondition, "calibrate()");
  for (const int bits : {-1, 0, 1, 9}) {
    says(Quantizer(SmallNet(), {.bits = bits}).calibrate(Batches({Images(2)})).convert(), invalid,
         "2..8");
    says(Quantizer(SmallNet(), {.activation_bits = bits}).calibrate(Batches({Images(2)})).convert(),
         invalid, "activation_bits");
    says(Quantizer(SmallNet(), {.sum_bits = bits}).calibrate(Batches({Images(2)})).convert(),
         invalid, "sum_bits");
  }
  says(Quantizer(SmallNet(), {.method = "entropy"}).calibrate(Batches({Images(2)})).convert(),
       invalid, "entropy");
  says(Quantizer(SmallNet(), {.group = 48}).calibrate(Batches({Images(2)})).convert(), invalid,
       "group");
  says(Quantizer(SmallNet(), {.named_bits = {{"nowhere", 4}}})
           .calibrate(Batches({Images(2)}))
           .convert(),
       invalid, "nowhere");
  says(Quantizer(SmallNet()).calibrate(Batches({Images(2, 3)})).convert(), invalid, "input");
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    at::Tensor images = Images(2);
    images[1][0][3][3] = bad;
    says(Quantizer(SmallNet()).calibrate(Batches({images})).convert(), invalid, "input");
  }
  says(Quantizer(SmallNet())
           .calibrate([]() -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
             return absl::DataLossError("torn file");
           })
           .convert(),
       absl::StatusCode::kDataLoss, "torn file");
  Builder b("nothing", 1);
  b.Output(b.Relu(b.Input("x", DType::kFloat32, {kDynamicDim, 4})), "y");
  says(Quantizer(*b.Finish()).calibrate(Batches({at::ones({2, 4})})).convert(),
       absl::StatusCode::kUnimplemented, "nothing to quantise");
}

// Images that are all alike, all zero, or a single one: ranges degenerate, results must not.
TEST(Quantizer, DegenerateDataGivesFiniteScales) {
  for (const at::Tensor& images : {at::zeros({2, 1, 16, 16}), at::full({2, 1, 16, 16}, 3.0),
                                   at::full({1, 1, 16, 16}, 1e-30), Images(1)}) {
    const auto model = Quantizer(SmallNet()).calibrate(Batches({images})).convert();
    ASSERT_TRUE(model.ok()) << model.status();
    for (const auto& [name, params] : model->plan.activations) {
      EXPECT_TRUE(std::isfinite(params.scales[0]) && params.scales[0] > 0) << name;
    }
  }
}

// A channel whose weights are all zero, as pruning leaves behind.
TEST(Quantizer, ADeadChannelStaysDead) {
  Graph graph = SmallNet();
  for (auto& [id, initializer] : graph.mutable_initializers()) {
    if (initializer.data.rank() != 4) continue;
    Tensor weight = initializer.data.Clone();
    const int64_t row = weight.num_elements() / weight.dim(0);
    for (int64_t i = 0; i < row; ++i) weight.mutable_span<float>()[static_cast<size_t>(i)] = 0;
    initializer.data = weight;
  }
  const auto model = Quantizer(graph, {.bits = 4}).calibrate(Batches({Images(4)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  for (const LayerReport& layer : model->layers)
    EXPECT_TRUE(std::isfinite(layer.weight_snr_db)) << layer.node;
  for (const auto& [name, params] : model->plan.weights) {
    for (const float scale : params.scales) EXPECT_TRUE(std::isfinite(scale) && scale > 0) << name;
  }
}

TEST(Quantizer, WarnsWhereARangeClipsMuch) {
  at::Tensor images = Images(16);
  const auto model =
      Quantizer(SmallNet(), {.method = "percentile", .calibration = {.percentile = 60}})
          .calibrate(Batches({images}))
          .convert();
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_FALSE(model->warnings.empty());
  EXPECT_NE(model->warnings[0].find("clips"), std::string::npos) << model->warnings[0];
  const auto calm =
      Quantizer(SmallNet(), {.method = "min-max"}).calibrate(Batches({images})).convert();
  ASSERT_TRUE(calm.ok()) << calm.status();
  EXPECT_TRUE(calm->warnings.empty());
}

}  // namespace
}  // namespace ds
