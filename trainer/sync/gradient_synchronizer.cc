#include "trainer/sync/gradient_synchronizer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/compress/compressor_state.h"
#include "comm/finite.h"
#include "torch/csrc/autograd/utils/lambda_post_hook.h"
#include "torch/csrc/autograd/variable.h"
#include "trainer/sync/flat_buckets.h"
#include "trainer/sync/gradient_exchange.h"

namespace ds {
namespace {

// Finite, and of a size that can be worked with when the loss scale is taken off.
bool IsUsable(const at::Tensor& gradient, const SyncStep& step) {
  const double limit = kGreatestGradient * step.loss_scale;
  constexpr double kMost = std::numeric_limits<float>::max();
  const at::Tensor dense =
      gradient.is_non_overlapping_and_dense() ? gradient : gradient.contiguous();
  return AllBelow(DenseMemory(dense), limit > kMost ? std::numeric_limits<float>::infinity()
                                                    : static_cast<float>(limit));
}

// Nothing to exchange or compress, the gradients stay where autograd put them. Residuals of a run
// that had more ranks wait for such a run to come again.
class LocalSynchronizer final : public GradientSynchronizer {
 public:
  explicit LocalSynchronizer(std::vector<NamedTensor> parameters)
      : parameters_(std::move(parameters)) {}

  absl::Status Begin(const SyncStep& step) override {
    step_ = step;
    refused_ = false;
    return absl::OkStatus();
  }

  void Refuse() override { refused_ = true; }

  absl::StatusOr<SyncStats> Finish() override {
    SyncStats stats;
    if (refused_) {
      stats.found_inf = true;
      return stats;
    }
    std::vector<at::Tensor> gradients;
    for (const NamedTensor& parameter : parameters_) {
      const at::Tensor& gradient = parameter.tensor.grad();
      if (!gradient.defined()) continue;
      if (!IsUsable(gradient, step_)) {
        stats.found_inf = true;
        stats.not_finite = parameter.name;
        return stats;
      }
      gradients.push_back(gradient);
    }
    if (step_.loss_scale != 1 && !gradients.empty())
      at::_foreach_mul_(gradients, 1.0 / step_.loss_scale);
    return stats;
  }

  absl::StatusOr<SyncStats> Abandon(const SyncStep& step) override {
    return SyncStats{.found_inf = true};
  }

  std::vector<TraceSpan> TakeTrace() override { return {}; }
  SyncState ExportState() const override { return state_; }
  absl::Status ImportState(const SyncState& state) override {
    state_ = state;
    return absl::OkStatus();
  }
  CompressionReport Report() const override { return {.method = "none"}; }

 private:
  std::vector<NamedTensor> parameters_;
  SyncStep step_;
  SyncState state_;
  bool refused_ = false;
};

// How many parameters have their gradients in a bucket, and how many of those have come.
struct Bucket {
  int members = 0;
  int arrived = 0;
};

// A parameter's place in the buckets and its hook, which lives as long as the accumulator that is
// kept here.
struct Slot {
  std::string name;
  at::Tensor parameter;
  at::Tensor view;
  int bucket = 0;
  bool arrived = false;       // in the backward pass under way
  bool has_gradient = false;  // in this step, of any of its micro-batches
  decltype(torch::autograd::impl::grad_accumulator(std::declval<const at::Tensor&>())) accumulator;
};

class BucketedSynchronizer final : public GradientSynchronizer {
 public:
  BucketedSynchronizer(const GraphModule& module, const FlatBuckets& memory, bool trace)
      : trace_exchange_(trace), buckets_(memory.flat.size()), alive_(std::make_shared<bool>(true)) {
    for (size_t i = 0; i < memory.views.size(); ++i) {
      slots_.push_back({.name = module.parameters()[i].name,
                        .parameter = module.parameters()[i].tensor,
                        .view = memory.views[i],
                        .bucket = memory.bucket[i]});
      ++buckets_[static_cast<size_t>(memory.bucket[i])].members;
    }
  }

  absl::Status Connect(std::unique_ptr<Communicator> communicator,
                       std::vector<GradientBucket> segments, const ExchangeOptions& options) {
    DS_ASSIGN_OR_RETURN(
        exchange_,
        GradientExchange::Create(std::move(communicator), std::move(segments), options.compression,
                                 options.overlap, options.forecast ? at::get_num_threads() : 0));
    for (size_t i = 0; i < slots_.size(); ++i) AddHook(i);
    return absl::OkStatus();
  }

  ~BucketedSynchronizer() override {
    *alive_ = false;
    // The views' memory goes with the buckets.
    for (Slot& slot : slots_) slot.parameter.mutable_grad() = at::Tensor();
  }

  absl::Status Begin(const SyncStep& step) override {
    if (active_) return absl::FailedPreconditionError("the step before has not been finished");
    step_ = step;
    found_inf_ = false;
    not_finite_.clear();
    next_ready_ = 0;
    for (Bucket& bucket : buckets_) bucket.arrived = 0;
    for (Slot& slot : slots_) {
      slot.arrived = false;
      Adopt(slot);
    }
    exchange_->Begin(step);
    active_ = true;
    return absl::OkStatus();
  }

  void Refuse() override { found_inf_ = true; }

  absl::StatusOr<SyncStats> Finish() override {
    active_ = false;
    // Parameters that got no gradient count as zeros, which their views hold since the optimiser's
    // ZeroGrad.
    std::vector<uint8_t> has_gradient;
    for (Slot& slot : slots_) {
      if (!slot.arrived) Arrived(slot);
      has_gradient.push_back(std::exchange(slot.has_gradient, false) ? 1 : 0);
    }
    DS_ASSIGN_OR_RETURN(const BucketResult result,
                        exchange_->Finish(found_inf_, absl::MakeSpan(has_gradient)));
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (has_gradient[i] == 0) slots_[i].parameter.mutable_grad() = at::Tensor();
    }
    if (trace_exchange_) AppendSpans(result, exchange_->buckets(), trace_);
    SyncStats stats = StatsOf(result);
    if (result.flag) stats.not_finite = not_finite_;
    stats.watched = exchange_->watched();
    stats.overlapped = exchange_->overlapped();
    return stats;
  }

  absl::StatusOr<SyncStats> Abandon(const SyncStep& step) override {
    if (!active_) DS_RETURN_IF_ERROR(Begin(step));
    found_inf_ = true;
    return Finish();
  }

  std::vector<TraceSpan> TakeTrace() override { return std::exchange(trace_, {}); }
  SyncState ExportState() const override { return exchange_->ExportState(); }
  absl::Status ImportState(const SyncState& state) override {
    return exchange_->ImportState(state);
  }
  CompressionReport Report() const override { return exchange_->Report(); }

 private:
  void AddHook(size_t index) {
    Slot& slot = slots_[index];
    slot.accumulator = torch::autograd::impl::grad_accumulator(slot.parameter);
    slot.accumulator->add_post_hook(std::make_unique<torch::autograd::utils::LambdaPostHook>(
        [this, index, alive = alive_](const torch::autograd::variable_list& outputs,
                                      const torch::autograd::variable_list&) {
          if (!*alive) return outputs;
          slots_[index].has_gradient = true;
          if (active_) Arrived(slots_[index]);
          return outputs;
        }));
  }

  // Makes the parameter's gradient the view, with what it has gathered so far.
  void Adopt(Slot& slot) {
    at::Tensor& gradient = slot.parameter.mutable_grad();
    if (gradient.defined() && gradient.data_ptr() == slot.view.data_ptr()) return;
    if (gradient.defined()) {
      slot.view.copy_(gradient);
      slot.has_gradient = true;
    } else {
      slot.view.zero_();
    }
    gradient = slot.view;
  }

  void Arrived(Slot& slot) {
    slot.arrived = true;
    Adopt(slot);
    if (!found_inf_ && !IsUsable(slot.view, step_)) {
      found_inf_ = true;
      not_finite_ = slot.name;
    }
    ++buckets_[static_cast<size_t>(slot.bucket)].arrived;
    while (next_ready_ < buckets_.size() &&
           buckets_[next_ready_].arrived == buckets_[next_ready_].members) {
      exchange_->MarkReady(static_cast<int>(next_ready_++));
    }
  }

  const bool trace_exchange_;
  std::vector<Slot> slots_;
  std::vector<Bucket> buckets_;
  std::shared_ptr<bool> alive_;  // hooks outlive this object on parameters that do
  std::unique_ptr<GradientExchange> exchange_;
  size_t next_ready_ = 0;
  bool active_ = false;
  SyncStep step_;
  bool found_inf_ = false;
  std::string not_finite_;
  std::vector<TraceSpan> trace_;
};

}  // namespace

bool IsSharedByRanks(absl::string_view key) {
  return absl::StartsWith(key, absl::StrCat(kFactor, "/"));
}

std::unique_ptr<GradientSynchronizer> GradientSynchronizer::CreateLocal(const GraphModule& module) {
  return std::make_unique<LocalSynchronizer>(module.parameters());
}

absl::StatusOr<std::unique_ptr<GradientSynchronizer>> GradientSynchronizer::Create(
    GraphModule& module, Communicator& communicator, const ExchangeOptions& options) {
  if (!(options.bucket_mb > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bucket_mb is ", options.bucket_mb, "; it must be above 0"));
  }
  if (communicator.size() == 1) return CreateLocal(module);
  DS_ASSIGN_OR_RETURN(const FlatBuckets memory, FlatBuckets::Create(module, options.bucket_mb));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> own, communicator.Duplicate());
  try {
    auto made = std::make_unique<BucketedSynchronizer>(module, memory, options.trace);
    DS_RETURN_IF_ERROR(made->Connect(std::move(own), memory.Segments(module), options));
    return made;
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("gradient buckets: ", error.what_without_backtrace()));
  }
}

}  // namespace ds
