#include "trainer/state/run_state.h"

#include <map>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/kernel.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

constexpr int kStateVersion = 1;

absl::StatusOr<std::map<std::string, Tensor>> ToHost(
    const std::map<std::string, at::Tensor>& tensors) {
  std::map<std::string, Tensor> result;
  for (const auto& [name, tensor] : tensors) {
    DS_ASSIGN_OR_RETURN(result[name], FromTorch(tensor));
  }
  return result;
}

std::map<std::string, at::Tensor> ModelTensors(const GraphModule& module) {
  std::map<std::string, at::Tensor> result;
  for (const NamedTensor& entry : module.parameters()) result[entry.name] = entry.tensor.detach();
  for (const NamedTensor& entry : module.buffers()) result[entry.name] = entry.tensor;
  return result;
}

absl::StatusOr<std::map<std::string, at::Tensor>> Section(const Checkpoint& checkpoint,
                                                          const std::string& name) {
  const auto found = checkpoint.tensors.find(name);
  if (found == checkpoint.tensors.end()) {
    return absl::NotFoundError(absl::StrCat("the checkpoint has no ", name, ".safetensors"));
  }
  std::map<std::string, at::Tensor> result;
  for (const auto& [key, tensor] : found->second) {
    DS_RETURN_IF_ERROR(
        Annotate(executor::TorchType(tensor.dtype()).status(),
                 absl::StrCat("the checkpoint's ", name, ".safetensors, '", key, "'")));
    result[key] = ToTorch(tensor);
  }
  return result;
}

// What is lost is no state to go on from.
absl::Status CheckFinite(const std::map<std::string, at::Tensor>& tensors,
                         absl::string_view whose) {
  const std::optional<Divergence> lost = FindInTensors("tensor", tensors);
  if (!lost.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      whose, " ", lost->what,
      ": that is no state to resume from; go back to an earlier checkpoint, and ", lost->help));
}

// All names and shapes are compared before the first tensor is changed.
absl::Status RestoreModel(const Checkpoint& checkpoint, const std::string& section,
                          const GraphModule& module) {
  using Tensors = std::map<std::string, at::Tensor>;
  DS_ASSIGN_OR_RETURN(const Tensors saved, Section(checkpoint, section));
  const Tensors live = ModelTensors(module);
  for (const auto& [name, tensor] : live) {
    const auto found = saved.find(name);
    if (found == saved.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the checkpoint lacks tensor '", name, "': it is of another model"));
    }
    if (found->second.sizes() != tensor.sizes() ||
        found->second.scalar_type() != tensor.scalar_type()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", name, "' of the checkpoint is ", c10::toString(found->second.scalar_type()),
          ShapeString({found->second.sizes().data(), found->second.sizes().size()}),
          ", the model's is ", c10::toString(tensor.scalar_type()),
          ShapeString({tensor.sizes().data(), tensor.sizes().size()}), ": it is of another model"));
    }
  }
  DS_RETURN_IF_ERROR(CheckFinite(saved, "the checkpoint's"));
  at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : live) tensor.copy_(saved.at(name));
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, double>> Numbers(const Json& state, const char* key) {
  const auto found = state.find(key);
  if (found == state.end() || !found->is_object()) {
    return absl::DataLossError(
        absl::StrCat("the checkpoint's state.json lacks the section '", key, "'"));
  }
  std::map<std::string, double> result;
  for (const auto& [name, value] : found->items()) {
    if (!value.is_number()) {
      return absl::DataLossError(absl::StrCat("state.json: ", key, ".", name, " is not a number"));
    }
    result[name] = value.get<double>();
  }
  return result;
}

}  // namespace

absl::StatusOr<TensorMap> ModuleTensors(const GraphModule& module) {
  return ToHost(ModelTensors(module));
}

absl::Status RestoreModule(const Checkpoint& checkpoint, const std::string& section,
                           const GraphModule& module) {
  return RestoreModel(checkpoint, section, module);
}

absl::StatusOr<TensorMap> OptimizerTensors(const Optimizer& optimizer) {
  return ToHost(optimizer.State());
}

absl::StatusOr<Checkpoint> CaptureRun(const RunObjects& objects, const RunProgress& progress) {
  Checkpoint checkpoint;
  DS_RETURN_IF_ERROR(CheckFinite(ModelTensors(*objects.module), "the run's"));
  DS_ASSIGN_OR_RETURN(checkpoint.tensors["model"], ToHost(ModelTensors(*objects.module)));
  DS_ASSIGN_OR_RETURN(checkpoint.tensors["optimizer"], OptimizerTensors(*objects.optimizer));
  const std::map<std::string, at::Tensor> outer = objects.trainer->outer_state();
  if (!outer.empty()) {
    DS_ASSIGN_OR_RETURN(checkpoint.tensors["outer"], ToHost(outer));
  }
  if (objects.trainer->ema() != nullptr) {
    DS_ASSIGN_OR_RETURN(checkpoint.tensors["ema"], ToHost(objects.trainer->ema()->State()));
  }
  const SyncState exchange = objects.trainer->exchange_state();
  const Json state = {{"version", kStateVersion},
                      {"trainer", objects.trainer->State()},
                      {"schedule", objects.schedule->State()},
                      {"precision", progress.precision},
                      {"compression", {{"method", exchange.method}, {"bits", exchange.bits}}},
                      {"best",
                       {{"accuracy", progress.best_metric},
                        {"epoch", static_cast<double>(progress.best_epoch)},
                        {"loss", progress.best_loss},
                        {"float_accuracy", progress.float_metric},
                        {"wall_seconds", progress.wall_seconds}}}};
  checkpoint.state_json = state.dump(2);
  return checkpoint;
}

namespace {

// Checkpoints of runs that compressed nothing need not have it.
absl::StatusOr<SyncState> ExchangeState(const Json& state) {
  SyncState exchange;
  const auto found = state.find("compression");
  if (found == state.end()) return exchange;
  const auto method = found->find("method"), bits = found->find("bits");
  if (!found->is_object() || method == found->end() || !method->is_string() ||
      bits == found->end() || !(bits->is_object() || bits->is_null())) {
    return absl::DataLossError("state.json: 'compression' needs a method and bits");
  }
  exchange.method = method->get<std::string>();
  for (const auto& [name, value] : bits->items()) {
    if (!value.is_number_integer())
      return absl::DataLossError(absl::StrCat("state.json: bits of ", name, " are no integer"));
    exchange.bits[name] = value.get<int>();
  }
  return exchange;
}

}  // namespace

bool HasFloatModel(const Checkpoint& checkpoint) {
  return checkpoint.tensors.contains(kFloatSection);
}

bool HasLocalSteps(const Checkpoint& checkpoint) { return checkpoint.tensors.contains("outer"); }

absl::Status RestoreRun(const Checkpoint& checkpoint, const RunObjects& objects,
                        RunProgress* progress) {
  const Json state = Json::parse(checkpoint.state_json, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object() || !state.contains("version") || state["version"] != kStateVersion ||
      !state.contains("precision") || !state["precision"].is_string()) {
    return absl::DataLossError(
        "the checkpoint's state.json is not of a version this program reads");
  }
  using NumberMap = std::map<std::string, double>;
  DS_ASSIGN_OR_RETURN(const NumberMap trainer, Numbers(state, "trainer"));
  DS_ASSIGN_OR_RETURN(const NumberMap schedule, Numbers(state, "schedule"));
  DS_ASSIGN_OR_RETURN(NumberMap best, Numbers(state, "best"));
  DS_ASSIGN_OR_RETURN(SyncState exchange, ExchangeState(state));
  DS_RETURN_IF_ERROR(RestoreModel(checkpoint, "model", *objects.module));
  using Tensors = std::map<std::string, at::Tensor>;
  DS_ASSIGN_OR_RETURN(const Tensors optimizer, Section(checkpoint, "optimizer"));
  DS_RETURN_IF_ERROR(objects.optimizer->LoadState(optimizer));
  if (objects.trainer->ema() != nullptr) {
    DS_ASSIGN_OR_RETURN(const Tensors ema, Section(checkpoint, "ema"));
    DS_RETURN_IF_ERROR(objects.trainer->ema()->LoadState(ema));
  }
  if (HasLocalSteps(checkpoint)) {
    DS_ASSIGN_OR_RETURN(Tensors outer, Section(checkpoint, "outer"));
    objects.trainer->set_outer_state(std::move(outer));
  }
  DS_RETURN_IF_ERROR(objects.schedule->LoadState(schedule));
  DS_RETURN_IF_ERROR(objects.trainer->LoadState(trainer));
  objects.trainer->set_exchange_state(std::move(exchange));
  progress->best_metric = best["accuracy"];
  progress->best_epoch = static_cast<int64_t>(best["epoch"]);
  progress->best_loss = best["loss"];
  progress->wall_seconds = best["wall_seconds"];
  progress->float_metric = best["float_accuracy"];  // 0 where it is not there: runs in float
  progress->precision = state["precision"].get<std::string>();
  return absl::OkStatus();
}

}  // namespace ds
