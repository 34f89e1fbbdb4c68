// A data loader's batch as LibTorch tensors, which share its memory.
#pragma once

#include "ATen/ATen.h"
#include "data/loader.h"

namespace ds {

// [N, C, H, W], with channels innermost in memory where the batch has them so; text: [N, tokens].
at::Tensor InputsToTorch(const Batch& batch);
// [N] class numbers; text: [N, tokens].
at::Tensor LabelsToTorch(const Batch& batch);

}  // namespace ds
