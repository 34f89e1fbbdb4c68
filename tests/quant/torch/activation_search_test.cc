#include "quant/torch/ranges/activation_search.h"

#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/torch/single_node.h"
#include "tests/quant/ranges/calibration_cases.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 7;

struct Case {
  Graph graph;
  QuantSelection selection;
  std::unique_ptr<Collector> collector;
  at::Tensor data;

  const ActivationSite& input() const { return selection.activations.front(); }
};

// A convolution over data of which few values are far out.
Case OutlierCase() {
  Builder b("outliers", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4, 8, 8});
  b.Output(b.Conv(x, "conv", {.channels = 6}), "y");
  Case made;
  made.graph = *b.Finish();
  made.selection = SelectForQuantization(made.graph);
  made.collector = *Collector::Create(made.graph, made.selection);
  at::manual_seed(kSeed);
  made.data = at::randn({16, 4, 8, 8});
  made.data.index_put_({at::tensor({3}), at::tensor({1}), at::tensor({2}), at::tensor({5})}, 40.0f);
  EXPECT_TRUE(made.collector->Add({made.data}).ok());
  return made;
}

double OutputError(const Case& made, const ClipRange& range, const QuantType& type) {
  const at::NoGradGuard no_grad;
  const auto module = *SingleNodeModule(made.graph, 0);
  const QuantParams params = *ParamsForRange(type, range.low, range.high);
  const at::Tensor rounded = at::fake_quantize_per_tensor_affine(
      made.data, params.scales[0], params.zero_points[0], type.min(), type.max());
  const at::Tensor difference =
      (*module->Forward({rounded}))[0] - (*module->Forward({made.data}))[0];
  return difference.to(at::kDouble).square().sum().item<double>();
}

TEST(ActivationSearch, AutoIsTheBestOfAllMethodsAtTheLayersOutput) {
  const Case made = OutlierCase();
  for (const int bits : {3, 4, 8}) {
    const QuantType type = {.bits = bits, .is_signed = false};
    const auto chosen =
        ChooseActivationRange(made.graph, made.input(), *made.collector, type, "auto", {});
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    const double best = OutputError(made, chosen->range, type);
    std::map<std::string, double> errors;
    for (const char* name : {"min-max", "moving-average", "percentile", "mse", "kl"}) {
      const auto one =
          ChooseActivationRange(made.graph, made.input(), *made.collector, type, name, {});
      ASSERT_TRUE(one.ok()) << one.status();
      errors[name] = OutputError(made, one->range, type);
      EXPECT_LE(best, errors[name] * (1 + 1e-6)) << name << ", " << bits << " bits";
    }
    if (bits == 4) {
      EXPECT_LT(errors["mse"], 0.5 * errors["min-max"]);
    }
  }
}

// Heavy tails and few values far out, at the value and at the output of the layer that reads it.
// All arithmetic in double, none of it from quant/. What is kept of the data for `auto` to try
// ranges on holds few of the outliers at 4 bits, and none at 8, where only one value in four
// million may be out at 60 for clipping it to be worth half the error.
TEST(ActivationSearch, KlAndAutoAreWellBelowMinMaxOnDataWithOutliers) {
  Builder b("laplace", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4, 64, 64});
  b.Output(b.Conv(x, "conv", {.channels = 6}), "y");
  const Graph graph = *b.Finish();
  const QuantSelection selection = SelectForQuantization(graph);
  const at::Tensor weight = ToTorch(*graph.Constant(graph.nodes()[0].inputs[1])).to(at::kDouble);
  struct Outliers {
    int bits, every, first;
    float size;
    int times;  // that values without outliers come first
  };
  for (const Outliers& few :
       {Outliers{4, 10000, 5000, 30, 0}, Outliers{8, 1 << 20, 700000, 60, 3}}) {
    const std::vector<float> calm = Laplace(1 << 20);
    std::vector<float> values = calm;
    for (size_t i = static_cast<size_t>(few.first); i < values.size();
         i += static_cast<size_t>(few.every)) {
      values[i] = std::copysign(few.size, values[i]);
    }
    const auto images = [](const std::vector<float>& of) {
      return at::tensor(at::ArrayRef<float>(of)).reshape({64, 4, 64, 64});
    };
    const auto collector = *Collector::Create(graph, selection);
    for (int i = 0; i < few.times; ++i) ASSERT_TRUE(collector->Add({images(calm)}).ok());
    ASSERT_TRUE(collector->Add({images(values)}).ok());
    const QuantType type = {.bits = few.bits, .is_signed = false};
    struct Error {
      double value, output;
    };
    const auto error = [&](const char* method) -> Error {
      const ChosenRange chosen = *ChooseActivationRange(graph, selection.activations.front(),
                                                        *collector, type, method, {});
      const double scale = (double{chosen.range.high} - chosen.range.low) / type.max();
      const int zero_point = static_cast<int>(std::nearbyint(-chosen.range.low / scale));
      const auto of = [&](const std::vector<float>& batch) -> Error {
        std::vector<double> changes;
        for (const float value : batch)
          changes.push_back(QuantisedReference(value, scale, zero_point, type) - value);
        const at::Tensor change =
            at::tensor(at::ArrayRef<double>(changes), at::kDouble).reshape({64, 4, 64, 64});
        return {change.square().mean().item<double>(),
                at::conv2d(change, weight, {}, {1, 1}, {1, 1}).square().mean().item<double>()};
      };
      const Error first = of(calm), last = of(values);
      return {(few.times * first.value + last.value) / (few.times + 1),
              (few.times * first.output + last.output) / (few.times + 1)};
    };
    const Error min_max = error("min-max");
    for (const char* method : {"kl", "auto"}) {
      const Error with = error(method);
      std::printf("%d bits, %s: %.1f times below min-max at the value, %.1f at the output\n",
                  few.bits, method, min_max.value / with.value, min_max.output / with.output);
      EXPECT_LT(with.value, 0.5 * min_max.value) << method << ", " << few.bits << " bits";
      EXPECT_LT(with.output, 0.5 * min_max.output) << method << ", " << few.bits << " bits";
    }
  }
}

TEST(ActivationSearch, CautionTakesTheWiderRange) {
  const Case made = OutlierCase();
  const QuantType type = {.bits = 4, .is_signed = false};
  const auto trials = TryRanges(made.graph, made.input(), *made.collector, type, "auto", {});
  ASSERT_TRUE(trials.ok()) << trials.status();
  ASSERT_EQ(trials->size(), 5u);
  const auto width = [&trials](double caution) {
    const ClipRange& range = LeastError(*trials, caution).range;
    return range.high - range.low;
  };
  EXPECT_LT(width(1), 0.5f * width(1e9));
  EXPECT_LE(width(1), width(8));
  EXPECT_GT(LeastError(*trials, 1e9).range.high, 38.0f);  // nothing is lost of 40
  for (const RangeTrial& trial : *trials) {
    const ClipRange& range = trial.chosen.range;
    const bool clips = range.high + (range.high - range.low) / 30 < 40.0f;  // by half a step
    EXPECT_EQ(trial.clipping > 0, clips) << Name(trial.chosen.method);
    EXPECT_LE(trial.clipping, trial.error * 1.5) << Name(trial.chosen.method);
  }
}

// Ranges are tried on the samples of as many batches as it takes.
TEST(ActivationSearch, TheFirstBatchIsNotAllThatIsKept) {
  const Case whole = OutlierCase();
  Case parts = OutlierCase();
  parts.collector = *Collector::Create(parts.graph, parts.selection);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(parts.collector->Add({parts.data.narrow(0, 4 * i, 4)}).ok());
  }
  const ValueId value = parts.input().value;
  EXPECT_TRUE(at::equal(parts.collector->kept(value), whole.collector->kept(value)));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(parts.collector->Add({parts.data}).ok());
  EXPECT_EQ(parts.collector->kept(value).size(0), Collector::kKeptSamples);
}

TEST(ActivationSearch, UnknownMethodIsRefused) {
  const Case made = OutlierCase();
  const auto chosen = ChooseActivationRange(made.graph, made.input(), *made.collector,
                                            {.is_signed = false}, "entropy", {});
  EXPECT_EQ(chosen.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SingleNode, RunsANodeWithItsConstantsAlone) {
  const Case made = OutlierCase();
  const auto alone = SingleNodeModule(made.graph, 0);
  ASSERT_TRUE(alone.ok()) << alone.status();
  const at::NoGradGuard no_grad;
  const auto whole = GraphModule::Create(made.graph);
  EXPECT_TRUE(
      at::equal((*(*alone)->Forward({made.data}))[0], (*(*whole)->Forward({made.data}))[0]));
}

TEST(SingleNode, RefusesANodeWithTwoComputedOperands) {
  Builder b("sum", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId y = b.Input("y", DType::kFloat32, {kDynamicDim, 4});
  b.Output(b.Add(x, y), "z");
  EXPECT_EQ(SingleNodeModule(*b.Finish(), 0).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ds
