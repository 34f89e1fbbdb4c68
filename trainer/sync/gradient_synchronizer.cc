#include "trainer/sync/gradient_synchronizer.h"

#include <cmath>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bucket_exchanger.h"
#include "torch/csrc/autograd/function.h"
#include "torch/csrc/autograd/function_hook.h"
#include "torch/csrc/autograd/variable.h"

namespace ds {
namespace {

// What the hooks reach; they live as long as the parameters, which may be longer than the synchroniser.
struct HookTarget {
  std::mutex mutex;
  BucketExchanger* exchanger = nullptr;      // null outside Begin..Finish
  std::vector<at::Tensor> parameters;        // in the exchanger's order
  std::vector<at::Tensor> views;             // gradients, in bucket memory
};

// Makes the parameter's .grad the view into the bucket, with what the gradient held so far.
void AliasGradient(const at::Tensor& parameter, const at::Tensor& view) {
  at::NoGradGuard no_grad;
  const at::Tensor& gradient = parameter.grad();
  if (gradient.defined() && gradient.is_same(view)) return;
  if (gradient.defined()) {
    view.copy_(gradient);
  } else {
    view.zero_();
  }
  parameter.mutable_grad() = view;
}

class ReadyHook final : public torch::autograd::FunctionPostHook {
 public:
  ReadyHook(std::shared_ptr<HookTarget> target, int index) : target_(std::move(target)), index_(index) {}

  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    std::lock_guard lock(target_->mutex);
    if (target_->exchanger != nullptr) {
      const size_t i = static_cast<size_t>(index_);
      AliasGradient(target_->parameters[i], target_->views[i]);
      target_->exchanger->MarkReady(index_);
    }
    return outputs;
  }

 private:
  std::shared_ptr<HookTarget> target_;
  int index_;
};

// Reverse order of first use; a parameter that the forward pass never uses goes last.
std::vector<int> ExchangeOrder(const GraphModule& module) {
  std::vector<int> order(module.forward_order().rbegin(), module.forward_order().rend());
  std::vector<bool> used(module.parameters().size(), false);
  for (const int i : order) used[static_cast<size_t>(i)] = true;
  for (size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) order.push_back(static_cast<int>(i));
  }
  return order;
}

absl::Status CheckParameter(const NamedTensor& parameter) {
  const at::Tensor& tensor = parameter.tensor;
  if (tensor.scalar_type() == at::kFloat && tensor.device().is_cpu() && tensor.is_non_overlapping_and_dense()) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("parameter ", parameter.name,
                                                 " cannot be exchanged: it must be a dense float32 tensor in host memory"));
}

// One rank: nothing to exchange, only the finite check.
class LocalSynchronizer final : public GradientSynchronizer {
 public:
  explicit LocalSynchronizer(GraphModule& module) : module_(module) {}

  absl::Status Begin(bool check_finite) override {
    check_finite_ = check_finite;
    return absl::OkStatus();
  }
  absl::StatusOr<SyncStats> Finish() override {
    SyncStats stats;
    try {
      at::NoGradGuard no_grad;
      for (const NamedTensor& parameter : module_.parameters()) {
        at::Tensor& gradient = parameter.tensor.mutable_grad();
        if (!gradient.defined()) gradient = at::zeros_like(parameter.tensor);
        // 0 × x is NaN for Inf and NaN only, and so is the sum.
        if (check_finite_ && !stats.found_inf) {
          stats.found_inf = !std::isfinite(gradient.mul(0).sum().item<double>());
        }
      }
    } catch (const c10::Error& error) {
      return absl::InternalError(absl::StrCat("finite check of the gradients: ", error.what_without_backtrace()));
    }
    return stats;
  }
  std::vector<TraceSpan> TakeTrace() override { return {}; }

 private:
  GraphModule& module_;
  bool check_finite_ = false;
};

class BucketSynchronizer final : public GradientSynchronizer {
 public:
  BucketSynchronizer(std::unique_ptr<BucketExchanger> exchanger, GradientSynchronizerOptions options)
      : exchanger_(std::move(exchanger)), options_(options) {}

  ~BucketSynchronizer() override {
    {
      std::lock_guard lock(target_->mutex);
      target_->exchanger = nullptr;
    }
    // The gradients outlive the buckets.
    for (size_t i = 0; i < target_->parameters.size(); ++i) {
      at::Tensor& gradient = target_->parameters[i].mutable_grad();
      if (gradient.defined() && gradient.is_same(target_->views[i])) gradient = gradient.clone();
    }
    target_->views.clear();
    target_->parameters.clear();
  }

  void AddHooks(const GraphModule& module, const std::vector<int>& order) {
    for (size_t i = 0; i < order.size(); ++i) {
      const at::Tensor& parameter = module.parameters()[static_cast<size_t>(order[i])].tensor;
      target_->parameters.push_back(parameter);
      target_->views.push_back(at::from_blob(exchanger_->gradient(static_cast<int>(i)).data(), parameter.sizes(),
                                             parameter.strides(), at::TensorOptions().dtype(at::kFloat)));
      auto accumulator = torch::autograd::impl::grad_accumulator(parameter);
      accumulator->add_post_hook(std::make_unique<ReadyHook>(target_, static_cast<int>(i)));
      accumulators_.push_back(std::move(accumulator));
    }
  }

  absl::Status Begin(bool check_finite) override {
    try {
      for (size_t i = 0; i < target_->views.size(); ++i) AliasGradient(target_->parameters[i], target_->views[i]);
    } catch (const c10::Error& error) {
      return absl::InternalError(absl::StrCat("gradient synchroniser: ", error.what_without_backtrace()));
    }
    DS_RETURN_IF_ERROR(exchanger_->Begin(check_finite));
    begin_us_ = SteadyMicroseconds();
    std::lock_guard lock(target_->mutex);
    target_->exchanger = exchanger_.get();
    return absl::OkStatus();
  }

  absl::StatusOr<SyncStats> Finish() override {
    {
      std::lock_guard lock(target_->mutex);
      target_->exchanger = nullptr;
    }
    const int64_t backward_end_us = SteadyMicroseconds();
    DS_ASSIGN_OR_RETURN(const ExchangeStats exchange, exchanger_->Finish());
    if (options_.trace) {
      trace_.push_back({"backward", "compute", begin_us_, backward_end_us});
      for (const BucketSpan& span : exchange.spans) {
        trace_.push_back({absl::StrCat("bucket ", span.bucket), "exchange", span.start_us, span.end_us});
      }
    }
    return SyncStats{.exchange_ms = static_cast<double>(exchange.exchange_us) / 1000,
                     .exposed_ms = static_cast<double>(exchange.exposed_us) / 1000,
                     .wire_bytes = exchange.wire_bytes,
                     .found_inf = exchange.found_inf};
  }

  std::vector<TraceSpan> TakeTrace() override { return std::exchange(trace_, {}); }

 private:
  std::unique_ptr<BucketExchanger> exchanger_;
  const GradientSynchronizerOptions options_;
  std::shared_ptr<HookTarget> target_ = std::make_shared<HookTarget>();
  // A parameter holds its accumulator weakly: without these the hooks would go with the first graph.
  std::vector<c10::intrusive_ptr<torch::autograd::Node>> accumulators_;
  std::vector<TraceSpan> trace_;
  int64_t begin_us_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GradientSynchronizer>> GradientSynchronizer::Create(
    GraphModule& module, Communicator& communicator, GradientSynchronizerOptions options) {
  if (communicator.size() == 1) return std::make_unique<LocalSynchronizer>(module);
  const std::vector<int> order = ExchangeOrder(module);
  std::vector<int64_t> counts;
  for (const int i : order) {
    const NamedTensor& parameter = module.parameters()[static_cast<size_t>(i)];
    DS_RETURN_IF_ERROR(CheckParameter(parameter));
    counts.push_back(parameter.tensor.numel());
  }
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> own, communicator.Duplicate());
  DS_ASSIGN_OR_RETURN(std::unique_ptr<BucketExchanger> exchanger,
                      BucketExchanger::Create(std::move(own), counts,
                                              {.bucket_mb = options.bucket_mb, .overlap = options.overlap}));
  try {
    auto synchronizer = std::make_unique<BucketSynchronizer>(std::move(exchanger), options);
    synchronizer->AddHooks(module, order);
    return synchronizer;
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("gradient synchroniser: ", error.what_without_backtrace()));
  }
}

}  // namespace ds
