// Flat memory for one value a parameter element, cut into the buckets in which it is exchanged.
#pragma once

#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "comm/compress/gradient_segment.h"
#include "executor/graph_module.h"

namespace ds {

struct FlatBuckets {
  std::vector<at::Tensor> flat;  // of each bucket: its memory, zeros at first
  std::vector<int> bucket;       // of each parameter
  std::vector<at::Tensor>
      views;  // of each parameter: its sizes and strides, in its bucket's memory

  // A plan of sizes and order of use only (PlanBuckets): the same on every rank and at every call.
  // `bucket_mb`: MiB a bucket, above 0. InvalidArgument names a parameter that is not a dense
  // float32 tensor.
  static absl::StatusOr<FlatBuckets> Create(const GraphModule& module, double bucket_mb);

  // The parameters' places, for an exchange. A tensor's elements count in the order of memory,
  // which is the same on every rank.
  std::vector<GradientBucket> Segments(const GraphModule& module) const;
};

// A dense tensor's elements in memory order, whatever the strides.
absl::Span<float> DenseMemory(const at::Tensor& tensor);

}  // namespace ds
