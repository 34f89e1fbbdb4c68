// FedProx's and SCAFFOLD's terms against their formulas.
#include "federated/training/drift_control.h"

#include <cmath>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "federated/model/graph_model.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"
#include "trainer/optim/optimizer.h"

namespace ds::federated {
namespace {

std::unique_ptr<GraphModule> Module() {
  const auto graph =
      BuildModel("resnet8", {.channels = 1, .height = 8, .width = 8, .classes = 4, .seed = 3});
  EXPECT_TRUE(graph.ok()) << graph.status();
  auto module = GraphModule::Create(*graph);
  EXPECT_TRUE(module.ok()) << module.status();
  return *std::move(module);
}

std::vector<float> Wave(int64_t size, float phase) {
  std::vector<float> values(static_cast<size_t>(size));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = std::sin(static_cast<float>(i) * 0.7f + phase);
  return values;
}

void Backward(const Objective& objective) {
  const auto sum = objective({}, {}, at::zeros({}));
  ASSERT_TRUE(sum.ok());
  sum->backward();
}

TEST(DriftControl, TheProximalGradientIsMuTimesTheWayGone) {
  const auto module = Module();
  const Objective objective = ProximalObjective(*module, 0.25);
  {
    const at::NoGradGuard no_grad;
    for (const NamedTensor& p : module->parameters()) at::Tensor(p.tensor).add_(0.5);
  }
  Backward(objective);
  for (const NamedTensor& p : module->parameters()) {
    EXPECT_TRUE(at::allclose(p.tensor.grad(), at::full_like(p.tensor, 0.125), 0, 1e-6)) << p.name;
  }
}

TEST(DriftControl, TheControlledGradientIsTheVariatesDifference) {
  const auto module = Module();
  const ModelLayout layout = MakeGraphModel(module->ExportGraph())->layout;
  const std::vector<float> control = Wave(layout.size(), 0), own = Wave(layout.size(), 1);
  Backward(ControlledObjective(*module, layout, control, own));
  int64_t offset = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (const NamedTensor& p : module->parameters()) {
      if (p.name != slot.name) continue;
      const at::Tensor grad = p.tensor.grad().contiguous();
      for (int64_t k = 0; k < slot.count; ++k) {
        const auto i = static_cast<size_t>(offset + k);
        ASSERT_EQ(grad.const_data_ptr<float>()[k], control[i] - own[i]) << slot.name << " " << k;
      }
    }
    offset += slot.count;
  }
}

// A site's steps along a gradient that stands still, by the optimiser and the clipping themselves:
// its new variate must be that gradient, whatever way the steps went.
struct Way {
  double momentum;
  bool nesterov;
  double decay;  // of the learning rate, a step
  double
      clip_from;  // clips to half of this gradient's norm from this share of the steps on; 1: never
  int steps;
};

void ExpectTheGradient(const Way& way) {
  const OptimizerOptions options = {
      .momentum = way.momentum, .nesterov = way.nesterov, .weight_decay = 0};
  const std::vector<float> gradient = {0.5f, -2, 0.125f}, control = {1, 0.25f, -3},
                           own = {-0.5f, 1, 0.25f};
  at::Tensor weight = at::zeros({3}), pulled = at::empty({3});
  for (int i = 0; i < 3; ++i) {
    const auto k = static_cast<size_t>(i);
    pulled[i] = gradient[k] + control[k] - own[k];
  }
  weight.set_requires_grad(true);
  const std::vector<NamedTensor> parameters = {{"weight", weight, "Gemm", 1}};
  const auto optimizer = Optimizer::Create(parameters, options);
  ASSERT_TRUE(optimizer.ok()) << optimizer.status();
  StepDistance distance(options);
  double rate = 0.05;
  for (int step = 0; step < way.steps; ++step, rate *= way.decay) {
    weight.mutable_grad() = pulled.clone();
    double factor = 1;
    if (step >= way.clip_from * way.steps) {
      const double most = pulled.norm().item<double>() / 2;
      factor = most / ClipGradNorm(parameters, most);
    }
    (*optimizer)->set_learning_rate(rate);
    ASSERT_TRUE((*optimizer)->Step().ok());
    distance.Add(rate, factor);
  }
  const at::Tensor gone = weight.detach().contiguous();
  const ModelLayout layout = {.slots = {{"weight", 3, SlotKind::kParameter}}};
  std::vector<float> change(3);
  ControlChange(layout, absl::MakeSpan(gone.const_data_ptr<float>(), 3), control, distance.total(),
                absl::MakeSpan(change));
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(own[k] + change[k], gradient[k], 1e-5)
        << "momentum " << way.momentum << ", nesterov " << way.nesterov << ", rate times "
        << way.decay << ", clipped from " << way.clip_from << ", steps " << way.steps;
  }
}

TEST(DriftControl, TheVariateOfAGradientThatStandsStillIsThatGradient) {
  for (const auto& [momentum, nesterov] :
       {std::pair(0.0, false), std::pair(0.0, true), std::pair(0.9, false), std::pair(0.9, true)})
    for (const double decay : {1.0, 0.9, 1.05})
      for (const double clip_from : {1.0, 0.5, 0.0})
        for (const int steps : {1, 2, 17, 60})
          ExpectTheGradient({momentum, nesterov, decay, clip_from, steps});
}

TEST(DriftControl, ControlsOfStatisticsStandStill) {
  const ModelLayout layout = {
      .slots = {{"w", 2, SlotKind::kParameter}, {"mean", 1, SlotKind::kStatistic}}};
  const std::vector<float> delta = {-2, 4, 8}, control = {0.5, 0.25, 16};
  std::vector<float> change(3, -1);
  ControlChange(layout, delta, control, 4, absl::MakeSpan(change));
  EXPECT_EQ(change, (std::vector<float>{0, -1.25, 0}));
}

}  // namespace
}  // namespace ds::federated
