#include "trainer/sync/local_steps.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/finite.h"
#include "executor/state_check.h"

namespace ds {
namespace {

constexpr char kVelocity[] = "velocity/";
constexpr char kStep[] = "step";
constexpr char kDiscarded[] = "discarded_in_a_row";

absl::Status CheckOptions(const LocalStepsOptions& options) {
  if (options.every < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("sync.every is ", options.every, "; it must be at least 1"));
  }
  if (!(options.outer_learning_rate > 0) || !std::isfinite(options.outer_learning_rate)) {
    return absl::InvalidArgumentError(absl::StrCat("sync.outer_learning_rate is ",
                                                   options.outer_learning_rate,
                                                   "; it must be finite and above 0"));
  }
  if (!(options.outer_momentum >= 0 && options.outer_momentum < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("sync.outer_momentum is ", options.outer_momentum, "; it must be in [0, 1)"));
  }
  return absl::OkStatus();
}

// The parameter's elements in memory order, as a view.
at::Tensor Flat(const at::Tensor& parameter) {
  return parameter.detach().as_strided({parameter.numel()}, {1});
}

at::Tensor Flat(const FlatBuckets& memory, size_t parameter) {
  return Flat(memory.views[parameter]);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LocalSteps>> LocalSteps::Create(const GraphModule& module,
                                                               Communicator& communicator,
                                                               const LocalStepsOptions& options,
                                                               const ExchangeOptions& exchange) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  auto made = std::unique_ptr<LocalSteps>(new LocalSteps(module, options, exchange.trace));
  for (FlatBuckets* memory : {&made->anchor_, &made->velocity_, &made->change_}) {
    DS_ASSIGN_OR_RETURN(*memory, FlatBuckets::Create(module, exchange.bucket_mb));
  }
  made->BeginRound();
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> own, communicator.Duplicate());
  DS_ASSIGN_OR_RETURN(
      made->exchange_,
      GradientExchange::Create(std::move(own), made->change_.Segments(module), exchange.compression,
                               /*overlap=*/false));
  return made;
}

void LocalSteps::BeginRound() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i)
    Flat(anchor_, i).copy_(Flat(parameters_[i].tensor));
}

absl::StatusOr<OuterStats> LocalSteps::OuterStep() {
  FillChange();
  const std::string not_finite = FirstBadChange();
  OuterStats stats = {.mine_is_finite = not_finite.empty()};
  exchange_->Begin({.step = outer_steps_});
  for (int bucket = 0; bucket < exchange_->buckets(); ++bucket) exchange_->MarkReady(bucket);
  DS_ASSIGN_OR_RETURN(const BucketResult result, exchange_->Finish(!stats.mine_is_finite));
  if (traced_) AppendSpans(result, exchange_->buckets(), trace_);
  stats.sync = StatsOf(result);
  if (!stats.mine_is_finite) stats.sync.not_finite = not_finite;
  if (!stats.sync.found_inf) {
    stats.sync.not_finite = FirstBadMove();
    stats.sync.found_inf = stats.sync.overflowed = !stats.sync.not_finite.empty();
  }
  ++outer_steps_;
  discarded_in_a_row_ = stats.sync.found_inf ? discarded_in_a_row_ + 1 : 0;
  if (!stats.sync.found_inf) MoveAnchor();
  ReturnToAnchor();
  return stats;
}

void LocalSteps::FillChange() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const absl::Span<const float> anchor = DenseMemory(anchor_.views[i]),
                                  local = DenseMemory(parameters_[i].tensor);
    const absl::Span<float> change = DenseMemory(change_.views[i]);
    for (size_t k = 0; k < change.size(); ++k) change[k] = anchor[k] - local[k];
  }
}

std::string LocalSteps::FirstBadChange() const {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!AllFinite(DenseMemory(change_.views[i]))) return parameters_[i].name;
  }
  return "";
}

// Plain loops, the same instructions on every rank: LibTorch's kernels choose theirs by processor,
// and with them the roundings.
template <typename F>
void LocalSteps::ForEachMove(size_t parameter, F move) {
  const float rate = static_cast<float>(options_.outer_learning_rate),
              momentum = static_cast<float>(options_.outer_momentum);
  const absl::Span<float> anchor = DenseMemory(anchor_.views[parameter]),
                          velocity = DenseMemory(velocity_.views[parameter]);
  const absl::Span<const float> change = DenseMemory(change_.views[parameter]);
  for (size_t k = 0; k < anchor.size(); ++k) {
    const float next = momentum * velocity[k] + change[k];
    move(velocity[k], next, anchor[k], anchor[k] - rate * (change[k] + momentum * next));
  }
}

std::string LocalSteps::FirstBadMove() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    bool finite = true;
    ForEachMove(i, [&finite](float, float velocity, float, float anchor) {
      finite = finite && std::isfinite(velocity) && std::isfinite(anchor);
    });
    if (!finite) return parameters_[i].name;
  }
  return "";
}

void LocalSteps::MoveAnchor() {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    ForEachMove(i, [](float& velocity, float next_velocity, float& anchor, float next_anchor) {
      velocity = next_velocity;
      anchor = next_anchor;
    });
  }
}

void LocalSteps::ReturnToAnchor() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i)
    Flat(parameters_[i].tensor).copy_(Flat(anchor_, i));
}

std::map<std::string, at::Tensor> LocalSteps::State() const {
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> state = {
      {kStep, at::scalar_tensor(outer_steps_, at::kLong)},
      {kDiscarded, at::scalar_tensor(discarded_in_a_row_, at::kLong)}};
  for (size_t i = 0; i < parameters_.size(); ++i)
    state[kVelocity + parameters_[i].name] = velocity_.views[i].clone();
  return state;
}

absl::Status LocalSteps::LoadState(const std::map<std::string, at::Tensor>& state) {
  DS_RETURN_IF_ERROR(CheckState(state, State(), "the outer optimiser's state",
                                "it was not saved by local steps of this model"));
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i)
    velocity_.views[i].copy_(state.at(kVelocity + parameters_[i].name));
  outer_steps_ = state.at(kStep).item<int64_t>();
  discarded_in_a_row_ = state.at(kDiscarded).item<int64_t>();
  return absl::OkStatus();
}

absl::StatusOr<LocalCounters> Agree(const LocalCounters& mine, Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::vector<LocalCounters> all, AllGatherValues(mine, communicator));
  LocalCounters agreed = all[0];
  for (size_t r = 1; r < all.size(); ++r) {
    agreed.loss_scale = std::min(agreed.loss_scale, all[r].loss_scale);
    agreed.good_steps = std::min(agreed.good_steps, all[r].good_steps);
    agreed.growths = std::max(agreed.growths, all[r].growths);
    agreed.backoffs = std::max(agreed.backoffs, all[r].backoffs);
    agreed.scaler_skipped = std::max(agreed.scaler_skipped, all[r].scaler_skipped);
    agreed.skipped += all[r].skipped;
    agreed.skipped_in_a_row = std::max(agreed.skipped_in_a_row, all[r].skipped_in_a_row);
  }
  return agreed;
}

}  // namespace ds
