// Which gradient travels in which bucket. Pure arithmetic on sizes, so that every rank comes to the
// same plan.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/types/span.h"

namespace ds {

struct BucketPlan {
  std::vector<int> bucket;      // of each parameter
  std::vector<int64_t> offset;  // of each parameter in its bucket, elements
  std::vector<int64_t> sizes;   // of each bucket, elements; buckets are exchanged in this order
};

// `sizes`: elements of each parameter. `forward_order`: indices of all parameters in the order in
// which the forward pass first uses them. Buckets are filled in the reverse of it, the order in
// which backward delivers gradients (Li et al. 2020, "PyTorch Distributed", section 3.2.3), each
// until it holds at least `capacity` elements (1 or more) or a quarter of all, whichever is less: a
// small model would else fit one bucket, which is full only when backward is over, and nothing
// could hide behind it. The last bucket always waits for the end of backward, so it is kept small:
// the first layers' gradients, at most 1/32 of a full bucket where their sizes allow it.
BucketPlan PlanBuckets(absl::Span<const int64_t> sizes, absl::Span<const int> forward_order,
                       int64_t capacity);

}  // namespace ds
