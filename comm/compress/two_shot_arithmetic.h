// The arithmetic of the two-shot exchange on one piece of a segment, block by block so that what a
// pass wrote is still in cache for the next. Pieces are independent of each other, blocks too: they
// may be worked on in any order and on any thread.
#pragma once

#include <cstddef>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/compress/exchange_plan.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

// What all pieces of a step have in common.
struct TwoShotStep {
  uint64_t seed = 0;
  uint64_t step = 0;
  float scale = 1.0f;
};

// The piece's part of a residual; both empty where there is none.
struct ResidualPart {
  absl::Span<const float> current;
  absl::Span<float> pending;
};

// Rank `rank`'s contribution. With a codec: `out` is the encoding of scale * values + residual, and
// the pending residual what that lost. Raw: `out` is a copy of the values.
void EncodeContribution(const GradientSegment& segment, const PlanPiece& piece,
                        const TwoShotStep& step, int rank, ResidualPart residual,
                        absl::Span<std::byte> out);

// The owner's part: adds what the `ranks` contributions decode to, in fp32 and in rank order, and
// its own residual; encodes the sum once into `out` and leaves in the values what that decodes to.
// Raw: the scaled sum. `contribution(r)` is rank r's encoding of the piece; `out` may be one of
// them. DataLoss if one is no encoding.
absl::Status ReduceContributions(const GradientSegment& segment, const PlanPiece& piece,
                                 const TwoShotStep& step, int ranks,
                                 absl::FunctionRef<absl::Span<const std::byte>(int)> contribution,
                                 ResidualPart residual, absl::Span<std::byte> out);

// What an owner's `encoded` sum decodes to, into the values.
absl::Status DecodeSum(const GradientSegment& segment, const PlanPiece& piece,
                       const TwoShotStep& step, absl::Span<const std::byte> encoded);

// Of one rank alone: values become scale * values + both residuals, which are then paid.
void PayResiduals(absl::Span<float> values, float scale, ResidualPart worker, ResidualPart owner);

}  // namespace ds
