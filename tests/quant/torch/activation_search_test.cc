#include "quant/torch/activation_search.h"

#include <map>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "graph/builder.h"
#include "gtest/gtest.h"
#include "quant/torch/single_node.h"

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
  const at::Tensor rounded =
      at::fake_quantize_per_tensor_affine(made.data, params.scales[0], params.zero_points[0], type.min(), type.max());
  const at::Tensor difference = (*module->Forward({rounded}))[0] - (*module->Forward({made.data}))[0];
  return difference.to(at::kDouble).square().sum().item<double>();
}

TEST(ActivationSearch, AutoIsTheBestOfAllMethodsAtTheLayersOutput) {
  const Case made = OutlierCase();
  for (const int bits : {3, 4, 8}) {
    const QuantType type = {.bits = bits, .is_signed = false};
    const auto chosen = ChooseActivationRange(made.graph, made.input(), *made.collector, type, "auto", {});
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    const double best = OutputError(made, chosen->range, type);
    std::map<std::string, double> errors;
    for (const char* name : {"min-max", "moving-average", "percentile", "mse", "kl"}) {
      const auto one = ChooseActivationRange(made.graph, made.input(), *made.collector, type, name, {});
      ASSERT_TRUE(one.ok()) << one.status();
      errors[name] = OutputError(made, one->range, type);
      EXPECT_LE(best, errors[name] * (1 + 1e-6)) << name << ", " << bits << " bits";
    }
    if (bits == 4) {
      EXPECT_LT(errors["mse"], 0.5 * errors["min-max"]);
    }
  }
}

TEST(ActivationSearch, UnknownMethodIsRefused) {
  const Case made = OutlierCase();
  const auto chosen = ChooseActivationRange(made.graph, made.input(), *made.collector, {.is_signed = false}, "entropy", {});
  EXPECT_EQ(chosen.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(SingleNode, RunsANodeWithItsConstantsAlone) {
  const Case made = OutlierCase();
  const auto alone = SingleNodeModule(made.graph, 0);
  ASSERT_TRUE(alone.ok()) << alone.status();
  const at::NoGradGuard no_grad;
  const auto whole = GraphModule::Create(made.graph);
  EXPECT_TRUE(at::equal((*(*alone)->Forward({made.data}))[0], (*(*whole)->Forward({made.data}))[0]));
}

TEST(SingleNode, RefusesANodeWithTwoComputedOperands) {
  Builder b("sum", kSeed);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 4});
  const ValueId y = b.Input("y", DType::kFloat32, {kDynamicDim, 4});
  b.Output(b.Add(x, y), "z");
  EXPECT_EQ(SingleNodeModule(*b.Finish(), 0).status().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace ds
