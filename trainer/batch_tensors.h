// A data loader's batch as LibTorch tensors, which share its memory where no conversion is due.
#pragma once

#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "data/loader.h"
#include "graph/graph.h"

namespace ds {

// One tensor [N, ...] an input of the graph, in its order and of its element types. Images:
// [N, C, H, W] with channels innermost in memory where the batch has them so, or [N, H, W, C] where
// the graph takes that. InvalidArgument where the batch does not fit the graph (input_binding.h),
// OutOfRange for an integer that the graph's narrower type cannot hold.
absl::StatusOr<std::vector<at::Tensor>> InputsToTorch(const Batch& batch, const Graph& graph);

// The targets as Batch has them. InvalidArgument for data without labels.
absl::StatusOr<at::Tensor> TargetsToTorch(const Batch& batch);

}  // namespace ds
