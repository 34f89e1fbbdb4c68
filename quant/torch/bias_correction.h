// Takes the mean of what rounded weights do to a layer's outputs out of its bias.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"

namespace ds {

// For each Conv, and Gemm with a bias, whose input's channel means were collected: b[o] -= sum over
// i of (w'[o, i] - w[o, i]) mean[i], where w' are the rounded weights (Nagel et al. 2019,
// "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2; the means
// are measured here). A Conv without a bias gets one. Padding is left out of account: its zeros
// lower the means at the rims.
absl::Status CorrectBiases(Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
                           const Collector& collector);

}  // namespace ds
