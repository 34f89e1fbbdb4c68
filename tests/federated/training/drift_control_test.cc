// FedProx's and SCAFFOLD's terms against their formulas.
#include "federated/training/drift_control.h"

#include <cmath>

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

// The optimiser itself, along a gradient of ones.
TEST(DriftControl, TheDistanceOfStepsIsWhatTheOptimiserGoes) {
  for (const OptimizerOptions& options :
       {OptimizerOptions{.momentum = 0, .nesterov = false, .weight_decay = 0},
        OptimizerOptions{.momentum = 0.9, .nesterov = false, .weight_decay = 0},
        OptimizerOptions{.momentum = 0.9, .nesterov = true, .weight_decay = 0}}) {
    at::Tensor weight = at::zeros({3});
    weight.set_requires_grad(true);
    const auto optimizer = Optimizer::Create({{"weight", weight, "Gemm", 1}}, options);
    ASSERT_TRUE(optimizer.ok()) << optimizer.status();
    (*optimizer)->set_learning_rate(0.01);
    constexpr int kSteps = 17;
    for (int step = 0; step < kSteps; ++step) {
      weight.mutable_grad() = at::ones({3});
      ASSERT_TRUE((*optimizer)->Step().ok());
    }
    const double distance = DistanceOfSteps(options, 0.01, kSteps);
    EXPECT_NEAR(-weight[0].item<double>(), distance, 1e-5 * distance)
        << options.momentum << options.nesterov;
  }
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
