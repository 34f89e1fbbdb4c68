// The search of quant/floating/float_values.h on calibration samples.
#pragma once

#include "absl/status/status.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/quantizer_options.h"

namespace ds {

// Takes the values out of `model`'s plan and reports for which an output would be further from the
// float graph than options.least_snr_db, with some in reserve, and says so in its warnings; or that
// no few are to blame. `model.graph` is the float graph still, `selection` and `plan` are of it.
// `batches`: calibration data, at least one; the search, up to a hundred runs of the network, takes
// 4 to 16 of its samples.
absl::Status LeaveFloat(const QuantSelection& selection, const Collector& collector,
                        const InputBatches& batches, const QuantizerOptions& options,
                        QuantizedModel& model);

// Takes the layers out that quant/floating/slow_layers.h weighs as slower with integers, and says
// so. `graph`: the float one; its inputs' shapes are those of the first batch, with one sample.
void LeaveSlowLayersFloat(const Graph& graph, const InputBatches& batches,
                          const QuantSelection& selection, QuantizedModel& model);

}  // namespace ds
