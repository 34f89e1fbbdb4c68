// Weights rounded with what their errors do together in mind: a layer's outputs change by the
// errors' sum, weighed by inputs that resemble each other (neighbouring pixels, channels), and so
// one error can make up for another. Frantar et al., "GPTQ: Accurate Post-Training Quantization for
// Generative Pre-trained Transformers" (ICLR 2023), with inputs from the float network and their
// covariance shrunk (shrunk_covariance.h): few samples do.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/reconstruction/adaround.h"

namespace ds {

// `graph`: folded, float; `plan` of it. Writes weights back as code * scale, so that `plan` rounds
// them to these very codes; their means are not looked at (biases make up for them). Layers with a
// scale for each block, weights that several layers read and layers of more than
// kMostGptqInputs inputs an output stay as they are, and so does all without at least 2 samples.
// One result a layer; its errors are squared errors of an output, expected from the covariance.
// Errors as of GraphModule.
inline constexpr int64_t kMostGptqInputs = 4608;
absl::StatusOr<std::vector<UnitReconstruction>> RoundByGptq(Graph& graph,
                                                            const QuantSelection& selection,
                                                            const QuantPlan& plan,
                                                            const InputBatches& batches);

}  // namespace ds
