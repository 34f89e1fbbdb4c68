// What an exchange costs on this link and this processor, measured, and whether compressing it is
// worth while.
//
//   seconds = exchanges * latency + bytes sent * seconds a byte
//             + values encoded, added up and decoded * seconds a value
//
// The terms are added, not overlapped: on a CPU, encoding takes its time from training. What a
// whole step takes, part of its exchange behind the backward pass, is step_model.h's.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_segment.h"
#include "comm/tuning/link_cost.h"
#include "comm/tuning/step_model.h"

namespace ds {

// Seconds a value, of the two-shot exchange's three parts (two_shot_arithmetic.h).
struct CodingCost {
  double encode_s = 0;
  double reduce_s = 0;  // of `ranks` contributions, and encoding their sum
  double decode_s = 0;
};

// Of `codec` (null: fp32) with `ranks` contributions on this rank, now. Not collective.
CodingCost MeasureCoding(std::shared_ptr<const Codec> codec, int ranks, bool error_feedback,
                         const CostProbe& probe = {});

// Of the codecs in use; null stands for fp32.
using CodingCosts = std::map<const Codec*, CodingCost>;
// Adds those of the buckets' codecs that `costs` lacks.
void MeasureCodecs(absl::Span<const GradientBucket> buckets, int ranks, bool error_feedback,
                   const CostProbe& probe, CodingCosts& costs);

struct ExchangeCost {
  double link_s = 0;
  double coding_s = 0;
  int64_t wire_bytes = 0;  // sent by the rank that sends most
  double seconds() const { return link_s + coding_s; }
};

// What exchanging the buckets costs on `link`. `costs` must have all their codecs. InvalidArgument
// as of ExchangePlan.
absl::StatusOr<ExchangeCost> PredictExchange(absl::Span<const GradientBucket> buckets, int ranks,
                                             const LinearCost& link, const CodingCosts& costs);

// A probe whose large exchange is that of the largest of the buckets: costs are not quite linear,
// and there it counts.
absl::StatusOr<CostProbe> ProbeLike(absl::Span<const GradientBucket> buckets, int ranks);

// The same a bucket, with what it costs beside compute; `ready_s` is left 0. For PredictWindow.
absl::StatusOr<std::vector<BucketCost>> PredictBuckets(absl::Span<const GradientBucket> buckets,
                                                       int ranks, const LinearCost& link,
                                                       const SharedCost& shared,
                                                       const CodingCosts& costs);

struct CompressionDecision {
  LinearCost link;
  ExchangeCost raw;         // all segments in fp32
  ExchangeCost compressed;  // with their codecs
  bool compress = false;    // compressed is faster by kLeastGain at least
};

inline constexpr double kLeastGain = 0.1;  // of raw.seconds()

// Measures and decides; the same on every rank. The segments' values are not looked at. Collective.
absl::StatusOr<CompressionDecision> DecideCompression(Communicator& communicator,
                                                      absl::Span<const GradientBucket> buckets,
                                                      bool error_feedback,
                                                      const CostProbe& probe = {});

}  // namespace ds
