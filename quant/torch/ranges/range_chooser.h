// Which ranges a network's activations are rounded over.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/quantizer_options.h"
#include "quant/torch/ranges/activation_search.h"
#include "quant/torch/widths.h"

namespace ds {

// What was seen of the calibration data.
struct Calibration {
  const Collector& collector;
  const InputBatches& samples;  // some of it, as it came
};

// By options.method; for "auto" each range does its readers' outputs the least harm, with as much
// clipping as the network's outputs bear. Shares (of a Softmax) have room for what the rounded
// network makes of them.
class RangeChooser {
 public:
  // All must outlive it. `selection` is of `graph`, as it is at each call.
  RangeChooser(const Graph& graph, const QuantSelection& selection, const Widths& widths,
               const QuantizerOptions& options);

  // There is other data.
  void Forget();

  // Whether ChooseCaution asks for samples.
  bool TriesCautions() const;
  // How much clipping counts, by the outputs' error over the samples, with the weights rounded as
  // in `weights`; once.
  absl::Status ChooseCaution(const QuantPlan& weights, const Calibration& data);

  // Made once for each width of a site: a search over the weights' bits finds it again.
  absl::StatusOr<ChosenRange> Of(const ActivationSite& site, const QuantType& type,
                                 const Calibration& data);
  // Fills in `model`'s plan, whose weights it has already, and reports; widths by name in `bits`,
  // others as of the options.
  absl::Status Choose(const std::map<std::string, int>& bits, const Calibration& data,
                      QuantizedModel& model);

 private:
  void HandOn(QuantPlan& plan) const;
  void AddReport(const ActivationSite& site, const QuantParams& params, const ChosenRange& chosen,
                 const Collector& collector, QuantizedModel& model) const;

  const Graph& graph_;
  const QuantSelection& selection_;
  const Widths& widths_;
  const QuantizerOptions& options_;
  std::map<std::pair<ValueId, int>, std::vector<RangeTrial>> trials_;  // by bits
  double caution_ = 0;                                                 // 0: not chosen
};

}  // namespace ds
