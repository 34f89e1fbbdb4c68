// Owners' residuals when shares are cut anew.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "comm/compress/compressor_state.h"
#include "comm/compress/exchange_plan.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

// Values [begin, begin + count) of a segment.
struct ValueRange {
  int64_t begin = 0;
  int64_t count = 0;
};

// What `owner` owns of a segment: one range, since a share is contiguous.
ValueRange OwnedValues(const ExchangePlan& plan, int owner, int segment);

// Replaces the owner residuals in `state`, cut by the plans `before`, by those of what this rank
// owns after the plans `after`. One Exchange, of the values that change hands only. Collective;
// buckets and plans are the same on every rank.
absl::Status MoveOwnerResiduals(Communicator& communicator,
                                const std::vector<GradientBucket>& buckets,
                                const std::vector<ExchangePlan>& before,
                                const std::vector<ExchangePlan>& after, CompressorState& state);

}  // namespace ds
