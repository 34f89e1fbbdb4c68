// Widths by measured sensitivity, and drift: what both promise, on small nets whose numbers can be
// had otherwise.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "executor/graph_module.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/affine.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/ranges/drift_monitor.h"
#include "tests/quant/torch/batches.h"
#include "tests/quant/torch/small_net.h"

namespace ds {
namespace {

int64_t Bytes(const QuantizedModel& model) {
  int64_t bytes = 0;
  for (const LayerReport& layer : model.layers) bytes += layer.bytes;
  return bytes;
}

int64_t FloatBytes(const QuantizedModel& model) {
  int64_t bytes = 0;
  for (const LayerReport& layer : model.layers) bytes += 4 * layer.weights;
  return bytes;
}

TEST(MixedBits, KeepTheSizeBudgetAndTheEnds) {
  for (const double budget : {0.10, 0.14, 0.2, 0.3}) {
    const auto model = Quantizer(SmallNet(), {.mixed_bits = {.size_budget = budget, .samples = 8}})
                           .calibrate(Batches({Images(8)}))
                           .convert();
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_LE(static_cast<double>(Bytes(*model)), budget * static_cast<double>(FloatBytes(*model)))
        << budget;
    EXPECT_EQ(Bytes(*model), model->mixed_bits.bytes);
    EXPECT_EQ(FloatBytes(*model), model->mixed_bits.float_bytes);
    EXPECT_EQ(model->layers.front().weight_bits, 8);
    EXPECT_EQ(model->layers.back().weight_bits, 8);
    for (const LayerReport& layer : model->layers) {
      EXPECT_EQ(model->mixed_bits.bits.at(layer.weight), layer.weight_bits);
      EXPECT_EQ(model->plan.weights.at(layer.weight).type.bits, layer.weight_bits);
    }
  }
}

// The sensitivity of a layer, computed here from the finished model's own weights: another path
// than the measurement's.
TEST(MixedBits, SensitivityIsTheDivergenceOfTheLogits) {
  const at::NoGradGuard no_grad;
  const at::Tensor images = Images(16);
  const auto mixed = Quantizer(SmallNet(), {.bias_correction = false,
                                            .mixed_bits = {.size_budget = 0.2, .samples = 16}})
                         .calibrate(Batches({images}))
                         .convert();
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  const auto logits = [&](const Graph& graph) {
    return (*(*GraphModule::Create(graph))->Forward({images}))[0].to(at::kDouble);
  };
  const at::Tensor p = at::softmax(logits(mixed->calibrated), 1);
  for (const size_t i : {size_t{1}, size_t{4}}) {
    const LayerSensitivity& layer = mixed->mixed_bits.layers[i];
    ASSERT_EQ(layer.widths.size(), 7u);
    for (const BitChoice& width : {layer.widths[0], layer.widths[2]}) {
      const auto rounded = Quantizer(SmallNet(), {.named_bits = {{layer.weight, width.bits}}})
                               .calibrate(Batches({images}))
                               .convert();
      ASSERT_TRUE(rounded.ok()) << rounded.status();
      Graph graph = mixed->calibrated;
      Tensor& weight = graph.mutable_initializers().at(graph.FindValue(layer.weight)).data;
      Tensor values = weight.Clone();
      FakeQuantize(weight.span<float>(), weight.shape(), rounded->plan.weights.at(layer.weight),
                   values.mutable_span<float>());
      weight = values;
      const at::Tensor q = at::softmax(logits(graph), 1);
      const double expected = (p * (p / q).log()).sum(1).mean().item<double>();
      EXPECT_GT(expected, 0);
      EXPECT_NEAR(width.error, expected, 1e-3 * expected + 1e-9)
          << layer.weight << " at " << width.bits;
    }
    EXPECT_GT(layer.widths[0].error, layer.widths[2].error);
    EXPECT_GT(layer.widths[2].error, layer.widths[6].error);
  }
}

// As many bits as there are, not as files round them up to: sizes then lie close together.
double TightShare(const QuantizedModel& model) {
  int64_t bytes = 0;
  for (const LayerReport& layer : model.layers) {
    const auto scales = static_cast<int64_t>(model.plan.weights.at(layer.weight).scales.size());
    bytes += QuantizedBytes(layer.weights, layer.weight_bits, scales, CodeStorage::kTight);
  }
  return static_cast<double>(bytes) / static_cast<double>(FloatBytes(model));
}

// A measure of accuracy in closed form, of the size alone: the least size that it allows is known.
// One bit more in the largest layer is 1.5 % of the size in fp32.
TEST(MixedBits, TheAccuracyBudgetFindsTheLeastSize) {
  constexpr double kEnough = 0.15;
  const auto drop = [](const QuantizedModel& model) -> absl::StatusOr<double> {
    return TightShare(model) >= kEnough ? 0.1 : 3.0;
  };
  const MixedBitsOptions options = {
      .accuracy_budget = 0.5, .drop = drop, .storage = CodeStorage::kTight, .samples = 4};
  const auto model = Quantizer(SmallNet(), {.method = "min-max", .mixed_bits = options})
                         .calibrate(Batches({Images(4)}))
                         .convert();
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_GE(TightShare(*model), kEnough);
  EXPECT_LT(TightShare(*model), kEnough + 0.02);
  const auto total = static_cast<double>(FloatBytes(*model));
  EXPECT_NEAR(static_cast<double>(model->mixed_bits.bytes) / total, TightShare(*model), 1e-12);
  EXPECT_GE(model->mixed_bits.trials.size(), 5u);
  for (const BitTrial& trial : model->mixed_bits.trials) {
    EXPECT_EQ(trial.drop > 0.5, static_cast<double>(trial.bytes) < kEnough * total);
  }
}

// What rounding one activation costs, with LibTorch's own fake quantisation in place of ours.
TEST(MixedBits, SensitivityOfAnActivationIsTheDivergenceOfTheLogits) {
  const at::NoGradGuard no_grad;
  const at::Tensor images = Images(16);
  const MixedBitsOptions options = {.weights = false,
                                    .activations = true,
                                    .accuracy_budget = 1,
                                    .drop = [](const QuantizedModel&) { return 0.0; },
                                    .samples = 16};
  const auto mixed = Quantizer(SmallNet(), {.method = "mse", .mixed_bits = options})
                         .calibrate(Batches({images}))
                         .convert();
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  const auto module = *GraphModule::Create(mixed->calibrated);
  const at::Tensor p = at::softmax((*module->Forward({images}))[0].to(at::kDouble), 1);
  ASSERT_EQ(mixed->mixed_bits.layers.size(), mixed->activations.size());
  for (const size_t i : {size_t{1}, size_t{5}}) {
    const LayerSensitivity& layer = mixed->mixed_bits.layers[i];
    EXPECT_TRUE(layer.activation);
    ASSERT_EQ(layer.widths.size(), 2u);
    for (const BitChoice& width : layer.widths) {
      const auto fixed =
          Quantizer(SmallNet(), {.activation_bits = width.bits, .end_bits = 2, .method = "mse"})
              .calibrate(Batches({images}))
              .convert();
      ASSERT_TRUE(fixed.ok()) << fixed.status();
      const QuantParams& params = fixed->plan.activations.at(layer.weight);
      ASSERT_EQ(params.type.bits, width.bits);
      module->set_value_transform([&](ValueId id, const at::Tensor& value) {
        if (module->graph().value(id).name != layer.weight) return at::Tensor();
        return at::fake_quantize_per_tensor_affine(value, params.scales[0], params.zero_points[0],
                                                   params.type.min(), params.type.max());
      });
      const at::Tensor q = at::softmax((*module->Forward({images}))[0].to(at::kDouble), 1);
      const double expected = (p * (p / q).log()).sum(1).mean().item<double>();
      EXPECT_GT(expected, 0);
      EXPECT_NEAR(width.error, expected, 1e-2 * expected + 1e-9) << layer.weight;
      EXPECT_EQ(width.bytes, layer.elements * width.bits / 8 + 4);
    }
    EXPECT_GT(layer.widths[0].error, layer.widths[1].error);
  }
}

double MeanActivationBits(const QuantizedModel& model) {
  double bits = 0, elements = 0;
  for (const ActivationReport& activation : model.activations) {
    bits += activation.bits * static_cast<double>(activation.elements);
    elements += static_cast<double>(activation.elements);
  }
  return bits / elements;
}

// Again a closed form: of the activations' bits. What the first and the last layer read has 8.
TEST(MixedBits, ActivationsGetFourOrEightBits) {
  for (const double enough : {5.0, 6.5}) {
    for (const bool weights : {false, true}) {
      const auto drop = [enough](const QuantizedModel& model) -> absl::StatusOr<double> {
        return MeanActivationBits(model) >= enough ? 0.1 : 3.0;
      };
      const MixedBitsOptions options = {.weights = weights,
                                        .activations = true,
                                        .accuracy_budget = 0.5,
                                        .drop = drop,
                                        .samples = 4};
      const auto model = Quantizer(SmallNet(), {.method = "min-max", .mixed_bits = options})
                             .calibrate(Batches({Images(4)}))
                             .convert();
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_GE(MeanActivationBits(*model), enough);
      // The largest value of the net, of 16 in its first block, is a tenth of all.
      if (!weights) {
        EXPECT_LT(MeanActivationBits(*model), enough + 0.6);
      }
      std::set<int> seen;
      for (const ActivationReport& activation : model->activations) {
        seen.insert(activation.bits);
        EXPECT_EQ(model->plan.activations.at(activation.value).type.bits, activation.bits);
        EXPECT_EQ(model->mixed_bits.bits.at(activation.value), activation.bits);
      }
      EXPECT_EQ(seen, (std::set<int>{4, 8}));
      EXPECT_EQ(model->activations.front().bits, 8);
      EXPECT_EQ(model->activations.back().bits, 8);
      if (!weights) {
        for (const LayerReport& layer : model->layers) {
          EXPECT_EQ(layer.weight_bits, 8);
        }
      }
    }
  }
}

// Learning takes much longer than all else: the search does without, and its result is verified.
TEST(MixedBits, RoundingsAreLearntOnceAndTheBudgetIsVerified) {
  struct Case {
    double plain, learnt;  // points that models lose
    bool kept, warned;
  };
  for (const Case& c :
       {Case{0.4, 0.2, true, false}, Case{0.4, 0.9, false, true}, Case{2.0, 0.3, true, false}}) {
    std::vector<bool> learnt;
    const auto drop = [&](const QuantizedModel& model) -> absl::StatusOr<double> {
      learnt.push_back(!model.units.empty());
      return learnt.back() ? c.learnt : c.plain;
    };
    const QuantizerOptions options = {
        .method = "min-max",
        .reconstruction = {.method = "adaround", .samples = 4, .iterations = 3, .batch = 4},
        .mixed_bits = {.accuracy_budget = 0.5, .drop = drop, .samples = 4}};
    const auto model = Quantizer(SmallNet(), options).calibrate(Batches({Images(4)})).convert();
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(std::count(learnt.begin(), learnt.end(), true), 1);
    EXPECT_TRUE(learnt.back());
    EXPECT_EQ(model->units.empty(), !c.kept);
    EXPECT_TRUE(model->mixed_bits.trials.back().learnt);
    const bool warned =
        std::any_of(model->warnings.begin(), model->warnings.end(), [](const std::string& warning) {
          return warning.find("0.90 points") != std::string::npos;
        });
    EXPECT_EQ(warned, c.warned);
    const int most = model->layers[1].weight_bits;
    EXPECT_EQ(most, c.plain > 0.5 ? 8 : 2) << "the largest widths, or the smallest";
  }
}

TEST(MixedBits, BadBudgetsAreOneClearError) {
  const auto says = [](MixedBitsOptions options, absl::StatusCode code, const char* words) {
    options.samples = std::min<int64_t>(options.samples, 2);
    const auto model = Quantizer(SmallNet(), {.method = "min-max", .mixed_bits = options})
                           .calibrate(Batches({Images(2)}))
                           .convert();
    EXPECT_EQ(model.status().code(), code) << model.status();
    EXPECT_NE(std::string(model.status().message()).find(words), std::string::npos)
        << model.status();
  };
  const auto lost = [](const QuantizedModel&) -> absl::StatusOr<double> { return 7.0; };
  const auto invalid = absl::StatusCode::kInvalidArgument,
             impossible = absl::StatusCode::kFailedPrecondition;
  says({.size_budget = 1.5}, invalid, "size_budget");
  says({.size_budget = std::nan("")}, invalid, "size_budget");
  says({.accuracy_budget = -1}, invalid, "accuracy_budget");
  says({.accuracy_budget = 1}, invalid, "drop");
  says({.size_budget = 0.1, .accuracy_budget = 1, .drop = lost}, invalid, "both");
  says({.size_budget = 0.1, .samples = 0}, invalid, "samples");
  says({.weights = false, .size_budget = 0.1}, invalid, "neither");
  says({.activations = true, .size_budget = 0.1}, invalid, "accuracy_budget");
  says({.size_budget = 0.01}, impossible, "size_budget 0.01");
  says({.accuracy_budget = 1, .drop = lost}, impossible, "7.00 points");
}

// The same distribution in other samples, and images that are brighter, or have more contrast, than
// those of calibration.
TEST(DriftMonitor, WarnsOfBrighterImagesAndNotOfOthersAlike) {
  const auto model = Quantizer(SmallNet()).calibrate(Batches({Images(128, 1, 16, 1)})).convert();
  ASSERT_TRUE(model.ok()) << model.status();
  const auto warnings = [&](const at::Tensor& images) {
    auto monitor = DriftMonitor::Create(*model);
    EXPECT_TRUE(monitor.ok()) << monitor.status();
    EXPECT_TRUE(monitor->Add({images}).ok());
    EXPECT_EQ(monitor->Report().size(), model->activations.size());
    return DriftWarnings(monitor->Report());
  };
  EXPECT_TRUE(warnings(Images(128, 1, 16, 2)).empty());
  for (const at::Tensor& images : {Images(64, 1, 16, 3) + 1.0, Images(64, 1, 16, 3) * 2.0}) {
    const std::vector<std::string> found = warnings(images);
    ASSERT_FALSE(found.empty());
    EXPECT_NE(found[0].find("\"" + model->activations[0].value + "\""), std::string::npos)
        << found[0];
    EXPECT_NE(found[0].find("drifted"), std::string::npos) << found[0];
  }
}

}  // namespace
}  // namespace ds
