#include "jobs/train/gated_training.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/onnx/onnx.h"
#include "jobs/data/data_setup.h"
#include "jobs/train/gate_use.h"
#include "prune/channel_gates.h"

namespace ds {
namespace {

constexpr char kControllerTensor[] = "controller";  // float64 [2]: strength, weight

absl::Status AddUp(GateCount& count, Communicator& communicator) {
  double sums[2] = {count.zeros, count.gates};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(sums)), ReduceOp::kSum));
  count = {sums[0], sums[1]};
  return absl::OkStatus();
}

// Optimiser steps an epoch.
double StepsPerEpoch(const TrainConfig& config, const DataLoader& loader) {
  return std::ceil(static_cast<double>(loader.batches_per_epoch()) /
                   static_cast<double>(config.trainer.accumulate));
}

}  // namespace

absl::StatusOr<std::unique_ptr<GatedTraining>> GatedTraining::Create(const TrainConfig& config,
                                                                     const JobSetupOptions& options,
                                                                     Communicator& communicator,
                                                                     JobObjects& job) {
  const GatingConfig& gating = config.gating;
  if (gating.mode == "none") return nullptr;
  Graph graph = job.module->ExportGraph();
  ChannelGateOptions gate_options = gating.gates;
  gate_options.seed = config.run.seed;
  const absl::StatusOr<std::vector<ChannelGate>> gates = AddChannelGates(graph, gate_options);
  DS_RETURN_IF_ERROR(Annotate(gates.status(), "gating"));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<GraphModule> module, GraphModule::Create(std::move(graph)));
  GateControllerOptions controller = gating.controller;
  controller.ramp_steps = gating.ramp_epochs * StepsPerEpoch(config, *job.train_loader);
  auto gated = std::unique_ptr<GatedTraining>(
      new GatedTraining(config, GateWatch(*module, *gates), GateController(controller)));
  auto objective = [shared = gated->shared_](const std::vector<at::Tensor>&, const at::Tensor&,
                                             const at::Tensor& loss) -> absl::StatusOr<at::Tensor> {
    const GateCount count = shared->watch.LastCount();
    shared->step.zeros += count.zeros;
    shared->step.gates += count.gates;
    if (shared->weight == 0) return loss;
    return loss + shared->watch.Penalty() * shared->weight;
  };
  DS_RETURN_IF_ERROR(
      ReplaceModel(config, options, std::move(module), std::move(objective), communicator, job));
  return gated;
}

absl::Status GatedTraining::OnStep(const StepReport& step, Communicator& communicator) {
  GateCount count = std::exchange(shared_->step, {});
  DS_RETURN_IF_ERROR(AddUp(count, communicator));
  if (step.skipped) return absl::OkStatus();
  controller_.Update(step.step, count.zeros, count.gates);
  shared_->weight = controller_.weight();
  return absl::OkStatus();
}

absl::StatusOr<std::string> GatedTraining::Report(Communicator& communicator) const {
  GateCount count = shared_->watch.Counted();
  DS_RETURN_IF_ERROR(AddUp(count, communicator));
  return absl::StrFormat("gates: %.1f%% zero on the test split, penalty times %.3g",
                         count.gates > 0 ? 100 * count.zeros / count.gates : 0, weight());
}

absl::Status GatedTraining::AddUse(const DataSplits& splits, const std::string& model,
                                   RunSummary& summary) const {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(model));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config_, splits.test, DataUse::kTest));
  DS_ASSIGN_OR_RETURN(const GateUse use, MeasureGateUse(std::move(graph), config_.loss, *loader));
  summary.zero_gate_share = use.zero_share;
  summary.always_shut_share = use.always_shut;
  summary.never_shut_share = use.never_shut;
  summary.macs = use.macs;
  summary.macs_needed = use.macs_needed;
  return absl::OkStatus();
}

TensorMap GatedTraining::State() const {
  const GateController::State state = controller_.state();
  return {{kControllerTensor, Tensor::From<double>({2}, {state.strength, state.weight})}};
}

absl::Status GatedTraining::Restore(const TensorMap& state) {
  const auto found = state.find(kControllerTensor);
  if (found == state.end() || found->second.dtype() != DType::kFloat64 ||
      found->second.num_elements() != 2) {
    return absl::DataLossError(absl::StrCat("the checkpoint's ", kGatingSection,
                                            ".safetensors lacks '", kControllerTensor,
                                            "': two float64 numbers"));
  }
  const auto numbers = found->second.span<double>();
  controller_.set_state({numbers[0], numbers[1]});
  shared_->weight = controller_.weight();
  return absl::OkStatus();
}

}  // namespace ds
