// What makes up for rounding without training, once a plan is made: room for biases in int32,
// roundings that are not the nearest, biases that take out what rounding does on average.
#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/quantizer_options.h"
#include "quant/torch/ranges/range_chooser.h"

namespace ds {

// At most so many bits are worth roundings learnt by descent (docs/benchmarks.md).
inline constexpr int kFewBits = 4;

// Whether means are taken out of biases.
bool CorrectsBiases(const QuantizerOptions& options);

class RoundingRepair {
 public:
  // Float, as calibrated; `selection` is of `exact`. All must outlive it, and so must what `data`
  // refers to.
  RoundingRepair(const Graph& exact, const QuantSelection& selection, const Calibration& data,
                 const QuantizerOptions& options)
      : exact_(exact), selection_(selection), data_(data), options_(options) {}

  // Changes weights and biases in `model.graph`, which is as `exact`, for its plan, whose weights'
  // scales may rise; fills in its reports of layers and units. `may_choose`: other roundings than
  // the nearest, as options.reconstruction says.
  absl::Status Run(bool may_choose, QuantizedModel& model) const;

 private:
  std::string Method(const QuantPlan& plan) const;
  absl::Status Learn(const QuantSelection& selection, const std::string& method,
                     QuantizedModel& model) const;
  absl::Status TryGptq(const QuantSelection& selection, const std::optional<OutputNoise>& noise,
                       QuantizedModel& model) const;
  absl::Status CorrectByMeasure(const QuantSelection& selection,
                                const std::optional<OutputNoise>& noise,
                                QuantizedModel& model) const;
  absl::Status MakeRoomForBiases(QuantizedModel& model) const;
  absl::Status Correct(const QuantSelection& selection, const QuantPlan& plan, Graph& graph) const;
  void ReportLayers(const QuantSelection& selection, QuantizedModel& model) const;

  const Graph& exact_;
  const QuantSelection& selection_;
  const Calibration data_;
  const QuantizerOptions& options_;
};

}  // namespace ds
