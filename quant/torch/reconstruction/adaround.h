// Chooses for each weight whether to round it down or up, so that the outputs of layers and
// residual blocks change least: a few hundred samples, no labels, no training of the weights.
//   AdaRound: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (ICML
//   2020). By blocks: Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block
//   Reconstruction" (ICLR 2021).
//   QDrop: Wei et al., "QDrop: Randomly Dropping Quantization for Extremely Low-bit Post-Training
//   Quantization" (ICLR 2022): while learning, each element of an activation stays unrounded by
//   chance, so that the choice does not lean on one pattern of rounding errors.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/quantizer_options.h"

namespace ds {

// What came of one unit (quant/reconstruction_units.h). Errors: mean squared difference of its
// outputs from the float network's, on the samples learnt from, with everything before it and in it
// rounded.
struct UnitReconstruction {
  std::string first, last;  // names of its first and last node
  int64_t weights = 0;
  int64_t flipped = 0;  // codes other than the nearest
  double nearest_error = 0;
  double error = 0;  // never more: where learning gains nothing, nearest rounding stays
};

// `graph`: folded, float; `plan` of it. `inputs`: one tensor for each of its inputs, sample by
// sample along axis 0. Writes weights back as code * scale, so that `plan` rounds them to these
// very codes, and biases of Conv (which gets one where it has none) and Gemm as new initialisers.
// `corrected`: the graph with the biases that are right for nearest rounding, node by node as
// `graph`; null: they are as they are. Deterministic for a seed and a
// number of threads. Memory: the samples' values at one cut of the network, float and rounded, at a
// time. InvalidArgument: an option out of range, no samples; Unimplemented: an operator the
// executor lacks.
absl::StatusOr<std::vector<UnitReconstruction>> ReconstructRounding(
    Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
    const std::vector<at::Tensor>& inputs, const ReconstructionOptions& options,
    const Graph* corrected = nullptr);

// InvalidArgument naming the option that is out of range.
absl::Status CheckReconstruction(const ReconstructionOptions& options);

}  // namespace ds
