#include "quant/torch/collector.h"

#include <algorithm>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<std::unique_ptr<Collector>> Collector::Create(const Graph& graph,
                                                             const QuantSelection& selection) {
  std::unique_ptr<Collector> collector(new Collector());
  for (const ActivationSite& site : selection.activations) collector->activations_[site.value];
  DS_ASSIGN_OR_RETURN(collector->module_, GraphModule::Create(graph));
  collector->module_->set_value_observer(
      [self = collector.get()](ValueId value, const at::Tensor& tensor) {
        self->Observe(value, tensor);
      });
  return collector;
}

absl::Status Collector::Add(const std::vector<at::Tensor>& inputs) {
  const at::NoGradGuard no_grad;
  status_ = infinities_ = absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, module_->Forward(inputs));
  if (!status_.ok()) return infinities_.ok() ? status_ : infinities_;  // the one came of the other
  // Infinities that do not reach an output are masks.
  const bool all_finite = std::all_of(outputs.begin(), outputs.end(), [](const at::Tensor& output) {
    return !output.is_floating_point() || output.isfinite().all().item<bool>();
  });
  if (!all_finite) DS_RETURN_IF_ERROR(infinities_);
  if (!inputs.empty() && inputs[0].dim() > 0) samples_ += inputs[0].size(0);
  return absl::OkStatus();
}

void Collector::Observe(ValueId value, const at::Tensor& tensor) {
  const auto found = activations_.find(value);
  if (found == activations_.end() || tensor.numel() == 0 || !status_.ok()) return;
  CollectedActivation& activation = found->second;
  // Order does not matter to a histogram: the bytes are taken as they lie where they lie densely.
  const at::Tensor dense = tensor.is_non_overlapping_and_dense() ? tensor : tensor.contiguous();
  const absl::Span<const float> values(dense.data_ptr<float>(), static_cast<size_t>(dense.numel()));
  activation.statistics.Add(values);
  const Histogram& histogram = activation.statistics.histogram();
  if (histogram.nans() + histogram.infinities() > 0) {
    absl::Status& status = histogram.nans() > 0 ? status_ : infinities_;
    if (status.ok()) {
      status = absl::InvalidArgumentError(
          absl::StrCat("calibration: value \"", module_->graph().value(value).name, "\" holds ",
                       histogram.nans(), " NaN and ", histogram.infinities(),
                       " infinities; look at the data and at the model's weights"));
    }
    return;
  }
  if (tensor.dim() == 4 || tensor.dim() == 2) {
    const at::Tensor sum = tensor.dim() == 4 ? tensor.sum({0, 2, 3}, false, at::kDouble)
                                             : tensor.sum({0}, false, at::kDouble);
    activation.channel_sum = activation.channel_sum.defined() ? activation.channel_sum + sum : sum;
    activation.count_a_channel += tensor.numel() / tensor.size(1);
  }
  Keep(value, tensor);
}

void Collector::Keep(ValueId value, const at::Tensor& tensor) {
  at::Tensor& kept = kept_[value];
  if (tensor.dim() == 0) {
    if (!kept.defined()) kept = tensor.reshape({1}).clone();
    return;
  }
  if (!kept.defined()) {
    kept = tensor.narrow(0, 0, std::min(tensor.size(0), kKeptSamples)).clone();
    return;
  }
  const int64_t wanted = std::min(tensor.size(0), kKeptSamples - kept.size(0));
  if (wanted <= 0 || tensor.dim() != kept.dim() || tensor.numel() == 0) return;
  if (tensor.sizes().slice(1) != kept.sizes().slice(1)) return;
  kept = at::cat({kept, tensor.narrow(0, 0, wanted)});
}

bool Collector::Saw(ValueId value) const { return kept_.contains(value); }

int64_t Collector::ElementsOfASample(ValueId value) const {
  const auto found = kept_.find(value);
  return found == kept_.end() ? 0
                              : found->second.numel() / std::max<int64_t>(1, found->second.size(0));
}

std::vector<double> Collector::ChannelMeans(ValueId value) const {
  const auto found = activations_.find(value);
  if (found == activations_.end() || !found->second.channel_sum.defined()) return {};
  const at::Tensor means =
      (found->second.channel_sum / static_cast<double>(found->second.count_a_channel)).contiguous();
  return {means.data_ptr<double>(), means.data_ptr<double>() + means.numel()};
}

}  // namespace ds
