#include "jobs/train/pruned_training.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/while_others_wait.h"
#include "graph/schema/schema.h"
#include "jobs/channel_importance.h"
#include "prune/two_four.h"
#include "trainer/optim/auto_precision.h"

namespace ds {
namespace {

// Names of a decision's tensors: "slices/<axis>/<initialiser>" (int64 indices), "zeros/<weight>"
// (bool).
constexpr char kSlices[] = "slices", kZeros[] = "zeros";
// Less than this is no channel of any model.
constexpr double kNothing = 1e-9;

using TorchTensors = std::map<std::string, at::Tensor>;

// `importance` where taylor is asked for: what is measured is given to PruneChannels.
PruneOptions WithImportance(PruneOptions options, const char* importance) {
  if (options.importance == "taylor") options.importance = importance;
  return options;
}

TensorMap ToTensors(const RemovedSlices& removed) {
  TensorMap tensors;
  for (const auto& [name, axes] : removed) {
    for (const auto& [axis, gone] : axes) {
      const std::vector<int64_t> indices(gone.begin(), gone.end());
      tensors[absl::StrCat(kSlices, "/", axis, "/", name)] =
          Tensor::From<int64_t>({static_cast<int64_t>(indices.size())}, indices);
    }
  }
  return tensors;
}

absl::Status ReadDecision(const TensorMap& tensors, RemovedSlices& removed, TorchTensors& zeros) {
  for (const auto& [key, tensor] : tensors) {
    const std::vector<std::string> kind = absl::StrSplit(key, absl::MaxSplits('/', 1));
    if (kind.size() == 2 && kind[0] == kZeros && tensor.dtype() == DType::kBool) {
      zeros[kind[1]] = ToTorch(tensor).clone();
      continue;
    }
    const std::vector<std::string> parts = absl::StrSplit(key, absl::MaxSplits('/', 2));
    int axis = 0;
    if (parts.size() != 3 || parts[0] != kSlices || !absl::SimpleAtoi(parts[1], &axis) ||
        tensor.dtype() != DType::kInt64) {
      return absl::DataLossError(
          absl::StrCat("what was pruned: '", key, "' is no entry that this program writes"));
    }
    const auto indices = tensor.span<int64_t>();
    removed[parts[2]][axis].insert(indices.begin(), indices.end());
  }
  return absl::OkStatus();
}

// Rank 0's tensors on all ranks.
absl::StatusOr<TensorMap> FromRankZero(const TensorMap& mine, Communicator& communicator) {
  if (communicator.size() == 1) return mine;
  DS_ASSIGN_OR_RETURN(std::string bytes,
                      BroadcastBytes(SerializeSafetensors(mine), /*root=*/0, communicator));
  const auto owner = std::make_shared<std::string>(std::move(bytes));
  return ParseSafetensors(*owner, "rank 0's decision", owner);
}

// Of "momentum/<parameter>" and the like what belongs to the slices left; scalars and other tensors
// as they are.
TorchTensors WithoutSlices(TorchTensors state, const RemovedSlices& removed) {
  for (auto& [key, tensor] : state) {
    const auto found = removed.find(key.substr(key.find('/') + 1));
    if (found == removed.end() || tensor.dim() == 0) continue;
    for (const auto& [axis, gone] : found->second) {
      std::vector<int64_t> kept;
      for (int64_t i = 0; i < tensor.size(axis); ++i) {
        if (!gone.contains(i)) kept.push_back(i);
      }
      tensor = tensor.index_select(axis, at::tensor(kept, at::kLong));
    }
  }
  return state;
}

absl::Status SetZerosOfAverages(const TorchTensors& zeros, WeightEma* averages) {
  if (averages == nullptr) return absl::OkStatus();
  TorchTensors state = averages->State();
  for (const auto& [name, where] : zeros) state.at("ema/" + name).masked_fill_(where, 0);
  return averages->LoadState(state);
}

// A weight that was exactly 0 before stays so too.
absl::StatusOr<TensorMap> ChooseTwoFour(Graph graph, const std::vector<std::string>& keep) {
  DS_ASSIGN_OR_RETURN(const std::vector<TwoFourLayer> layers, ApplyTwoFour(graph, keep));
  TensorMap zeros;
  for (const TwoFourLayer& layer : layers) {
    if (!layer.dense_because.empty()) continue;
    const Tensor& weight = *graph.Constant(graph.FindValue(layer.weight));
    DS_ASSIGN_OR_RETURN(zeros[absl::StrCat(kZeros, "/", layer.weight)],
                        FromTorch(ToTorch(weight).eq(0)));
  }
  return zeros;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrunedTraining>> PrunedTraining::Create(const TrainConfig& config,
                                                                       const Graph& whole) {
  if (config.pruning.mode == "none") return nullptr;
  auto pruned = std::unique_ptr<PrunedTraining>(new PrunedTraining(config));
  Graph trial = whole;
  if (config.pruning.mode == "2:4") {
    DS_RETURN_IF_ERROR(
        Annotate(ApplyTwoFour(trial, config.pruning.channels.options.keep).status(), "pruning"));
    return pruned;
  }
  // How much can go does not depend on what taylor would measure.
  const PruneOptions& options = config.pruning.channels.options;
  DS_RETURN_IF_ERROR(
      Annotate(PruneChannels(trial, WithImportance(options, "l1")).status(), "pruning"));
  trial = whole;
  DS_RETURN_IF_ERROR(InferShapes(trial));
  DS_RETURN_IF_ERROR(SimplifyReshapes(trial));
  DS_ASSIGN_OR_RETURN(const std::vector<ChannelGroup> groups, FindChannelGroups(trial));
  for (const ChannelGroup& group : groups)
    pruned->channels_at_first_[group.name] = static_cast<int64_t>(group.channels.size());
  DS_ASSIGN_OR_RETURN(pruned->measure_at_first_, PruneMeasure(trial, options.measure));
  return pruned;
}

absl::StatusOr<TensorMap> PrunedTraining::ChooseChannels(const JobObjects& job) const {
  Graph graph = job.module->ExportGraph();
  const ChannelPruning& config = config_.pruning.channels;
  const double share = GradualShare(config.options.amount, job.trainer->epoch() - first_epoch() + 1,
                                    last_epoch() - first_epoch() + 1);
  DS_ASSIGN_OR_RETURN(const double measure, PruneMeasure(graph, config.options.measure));
  PruneOptions options = WithImportance(config.options, "given");
  options.amount = 1 - (1 - share) * measure_at_first_ / measure;
  options.channels_at_first = channels_at_first_;
  // Whole channels, or multiples of them, may have gone further than was asked for before.
  if (options.amount < kNothing) return TensorMap{};
  ChannelImportance importance;
  if (config.options.importance == "taylor") {
    DS_ASSIGN_OR_RETURN(importance,
                        MeasureChannelImportance(config_, job.splits, graph, config.samples));
  }
  DS_ASSIGN_OR_RETURN(const PruneReport report, PruneChannels(graph, options, importance));
  return ToTensors(report.removed);
}

absl::StatusOr<TensorMap> PrunedTraining::Decide(const JobObjects& job) const {
  if (config_.pruning.mode == "2:4")
    return ChooseTwoFour(job.module->ExportGraph(), config_.pruning.channels.options.keep);
  return ChooseChannels(job);
}

absl::StatusOr<std::string> PrunedTraining::Prune(const JobSetupOptions& options,
                                                  Communicator& communicator, JobObjects& job) {
  TensorMap mine;
  DS_RETURN_IF_ERROR(
      WhileOthersWait(communicator, /*worker=*/0, "choose what to prune", [&]() -> absl::Status {
        DS_ASSIGN_OR_RETURN(mine, Decide(job));
        return absl::OkStatus();
      }));
  DS_ASSIGN_OR_RETURN(const TensorMap decision, FromRankZero(mine, communicator));
  DS_RETURN_IF_ERROR(
      Annotate(Apply(decision, /*keep_state=*/true, options, communicator, job), "pruning"));
  const Graph& graph = job.module->graph();
  return absl::StrFormat(
      "pruned %.1f%% of the %s, %d parameters left", 100 * PrunedShare(graph),
      config_.pruning.mode == "2:4" ? "weights" : config_.pruning.channels.options.measure,
      graph.ParameterCount());
}

absl::StatusOr<TensorMap> PrunedTraining::State() const {
  TensorMap state = ToTensors(removed_);
  for (const auto& [name, zeros] : zeros_) {
    DS_ASSIGN_OR_RETURN(state[absl::StrCat(kZeros, "/", name)], FromTorch(zeros));
  }
  return state;
}

absl::Status PrunedTraining::Restore(const TensorMap& state, const JobSetupOptions& options,
                                     Communicator& communicator, JobObjects& job) {
  return Annotate(Apply(state, /*keep_state=*/false, options, communicator, job),
                  "what was pruned before");
}

absl::Status PrunedTraining::Apply(const TensorMap& decision, bool keep_state,
                                   const JobSetupOptions& options, Communicator& communicator,
                                   JobObjects& job) {
  RemovedSlices removed;
  TorchTensors zeros;
  DS_RETURN_IF_ERROR(ReadDecision(decision, removed, zeros));
  if (!removed.empty()) {
    DS_RETURN_IF_ERROR(Shrink(removed, keep_state, options, communicator, job));
    AddLaterSlices(removed, removed_);
  }
  if (zeros.empty()) return absl::OkStatus();
  DS_RETURN_IF_ERROR(job.optimizer->KeepZeros(zeros));
  DS_RETURN_IF_ERROR(SetZerosOfAverages(zeros, job.trainer->ema()));
  zeros_ = std::move(zeros);
  return absl::OkStatus();
}

absl::Status PrunedTraining::Shrink(const RemovedSlices& removed, bool keep_state,
                                    const JobSetupOptions& options, Communicator& communicator,
                                    JobObjects& job) const {
  Graph graph = job.module->ExportGraph();
  DS_RETURN_IF_ERROR(RepeatPruning(graph, removed));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<GraphModule> module, GraphModule::Create(std::move(graph)));
  if (!keep_state)
    return ReplaceModel(config_, options, std::move(module), nullptr, communicator, job);
  const at::NoGradGuard no_grad;
  const TorchTensors optimizer = WithoutSlices(job.optimizer->State(), removed);
  const TorchTensors outer = WithoutSlices(job.trainer->outer_state(), removed);
  TorchTensors averages;
  if (job.trainer->ema() != nullptr) averages = WithoutSlices(job.trainer->ema()->State(), removed);
  const std::string precision = PrecisionName(job.trainer->precision());
  const std::string method = job.trainer->exchange_state().method;
  DS_RETURN_IF_ERROR(ReplaceModel(config_, options, std::move(module), nullptr, communicator, job));
  DS_RETURN_IF_ERROR(job.optimizer->LoadState(optimizer));
  if (job.trainer->ema() != nullptr) DS_RETURN_IF_ERROR(job.trainer->ema()->LoadState(averages));
  if (!outer.empty()) job.trainer->set_outer_state(outer);
  job.trainer->set_precision(precision);
  job.trainer->set_exchange_state({.method = method});
  return absl::OkStatus();
}

double PrunedTraining::PrunedShare(const Graph& graph) const {
  if (config_.pruning.mode == "2:4") {
    int64_t zeros = 0;
    for (const auto& [name, where] : zeros_) zeros += where.sum().item<int64_t>();
    return static_cast<double>(zeros) /
           static_cast<double>(std::max<int64_t>(1, graph.ParameterCount()));
  }
  const absl::StatusOr<double> left = PruneMeasure(graph, config_.pruning.channels.options.measure);
  return left.ok() ? 1 - *left / measure_at_first_ : 0;
}

}  // namespace ds
