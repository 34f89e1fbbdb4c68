// Runs a float graph over calibration data and gathers what each activation's range is chosen from.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "quant/ranges/observer.h"
#include "quant/selection.h"

namespace ds {

struct CollectedActivation {
  ActivationStatistics statistics;
  at::Tensor channel_sum;  // double [C], of a value [N, C] or [N, C, H, W]; undefined for others
  int64_t count_a_channel = 0;
};

class Collector {
 public:
  // Batch norms must be folded. Errors as of GraphModule::Create.
  static absl::StatusOr<std::unique_ptr<Collector>> Create(const Graph& graph,
                                                           const QuantSelection& selection);

  // Adds one batch. InvalidArgument naming the value that holds NaN, or that was the first to hold
  // infinities which reached an output (those that reach none are masks), or what does not fit the
  // model.
  absl::Status Add(const std::vector<at::Tensor>& inputs);
  int64_t samples() const { return samples_; }
  const CollectedActivation& at(ValueId value) const { return activations_.at(value); }
  // Mean of each channel of a value [N, C] or [N, C, H, W]; empty if it was not collected.
  std::vector<double> ChannelMeans(ValueId value) const;
  // False for a value that was never computed, or never held a number: it has no range.
  bool Saw(ValueId value) const;
  // The values of the first few samples, float, for trying ranges out: at most kKeptSamples of
  // them.
  const at::Tensor& kept(ValueId value) const { return kept_.at(value); }
  static constexpr int64_t kKeptSamples = 32;
  int64_t ElementsOfASample(ValueId value) const;

 private:
  Collector() = default;
  void Observe(ValueId value, const at::Tensor& tensor);
  void Keep(ValueId value, const at::Tensor& tensor);

  std::unique_ptr<GraphModule> module_;
  std::map<ValueId, CollectedActivation> activations_;
  std::map<ValueId, at::Tensor> kept_;
  absl::Status status_, infinities_;  // of the batch at hand
  int64_t samples_ = 0;
};

}  // namespace ds
