// How much a network suffers when one layer's weights, or one activation, are rounded, by width:
// measured, not guessed from the numbers.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/affine.h"
#include "quant/bit_search.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"

namespace ds {

struct LayerSensitivity {
  std::string weight;             // its name, or the activation's
  std::vector<BitChoice> widths;  // in rising order, with sizes and errors
  int64_t elements = 0;           // of the weight, or of the activation in one sample
  bool activation = false;
};

// How a weight is rounded to so many bits.
using WeightRounding = std::function<absl::StatusOr<QuantParams>(const WeightSite& site, int bits)>;

using ActivationRounding =
    std::function<absl::StatusOr<QuantParams>(const ActivationSite& site, int bits)>;

struct SensitivityOptions {
  std::function<std::vector<int>(const WeightSite&)> widths;  // to try of a weight, rising, in 2..8
  WeightRounding round;
  // The same of an activation; one scale.
  std::function<std::vector<int>(const ActivationSite&)> activation_widths;
  ActivationRounding round_activation;
  CodeStorage storage = CodeStorage::kFile;
  bool bias_correction = true;  // correct the biases for it, as the finished model will
};

// Runs the float graph (batch norms folded) on `batches`, each the model's inputs, once as it is
// and once for each weight and width with that weight alone rounded. The error is that of the
// network's outputs, a sample on average: for an output [N, C], C > 1, taken as logits, the
// Kullback-Leibler divergence of their softmax from the float one's, in nats; for others the
// relative squared error. Errors of small perturbations add up, which is what SearchBits assumes.
// InvalidArgument where there are no batches.
absl::StatusOr<std::vector<LayerSensitivity>> MeasureSensitivity(
    const Graph& graph, const QuantSelection& selection, const Collector& collector,
    const std::vector<std::vector<at::Tensor>>& batches, const SensitivityOptions& options);

// The same for the activations: each value alone is rounded, the weights stay float. Bytes are
// those of its codes for one sample, and its scale.
absl::StatusOr<std::vector<LayerSensitivity>> MeasureActivationSensitivity(
    const Graph& graph, const QuantSelection& selection, const Collector& collector,
    const std::vector<std::vector<at::Tensor>>& batches, const SensitivityOptions& options);

}  // namespace ds
