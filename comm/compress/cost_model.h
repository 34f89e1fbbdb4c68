// What an exchange costs on this link and this processor, measured, and whether compressing it is worth while.
//
//   seconds = exchanges * latency + bytes sent * seconds a byte + values encoded, added up and decoded * seconds a value
//
// The terms are added, not overlapped: on a CPU, encoding takes its time from training.
#pragma once

#include <map>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

// Of one Communicator::Exchange in which every rank sends the same to each other: latency_s + bytes a rank sends * seconds_per_byte.
// Of that time this process computes (copies, system calls, polling) cpu_latency_s + bytes * cpu_seconds_per_byte.
struct LinkCost {
  double latency_s = 0;
  double seconds_per_byte = 0;
  double cpu_latency_s = 0;
  double cpu_seconds_per_byte = 0;
};

struct CostProbe {
  int64_t small_bytes = 4 << 10;     // sent by a rank in the one exchange,
  int64_t large_bytes = 2 << 20;     // and in the other: half a bucket of the usual size
  int repeats = 8;                   // of which the mean counts, after one more
  int64_t coding_values = 1 << 22;   // encoded and decoded: beyond the caches, as gradients are
};

// The slowest rank's figures, the same on every rank. Zeros for one rank. Collective.
absl::StatusOr<LinkCost> MeasureLink(Communicator& communicator, const CostProbe& probe = {});

// Seconds a value, of the two-shot exchange's three parts (piece_coding.h).
struct CodingCost {
  double encode_s = 0;
  double reduce_s = 0;   // of `ranks` contributions, and encoding their sum
  double decode_s = 0;
};

// Of `codec` (null: fp32) with `ranks` contributions on this rank, now. Not collective.
CodingCost MeasureCoding(std::shared_ptr<const Codec> codec, int ranks, bool error_feedback, const CostProbe& probe = {});

// Of the codecs in use; null stands for fp32.
using CodingCosts = std::map<const Codec*, CodingCost>;
// Adds those of the buckets' codecs that `costs` lacks.
void MeasureCodecs(absl::Span<const GradientBucket> buckets, int ranks, bool error_feedback, const CostProbe& probe,
                   CodingCosts& costs);

struct ExchangeCost {
  double link_s = 0;
  double link_cpu_s = 0;    // of link_s, what this processor works
  double coding_s = 0;
  int64_t wire_bytes = 0;   // sent by the rank that sends most
  double seconds() const { return link_s + coding_s; }
};

// What exchanging the buckets costs on `link`. `costs` must have all their codecs. InvalidArgument as of ExchangePlan.
absl::StatusOr<ExchangeCost> PredictExchange(absl::Span<const GradientBucket> buckets, int ranks, const LinkCost& link,
                                             const CodingCosts& costs);

// A training step with this exchange, from the same step without one, on as many cores as the step keeps busy: coding and the work of
// sending take their time from training, and the link's waits pass while the rest of the backward pass runs. It leaves out that the first bucket is not ready at backward's begin and the last one only at
// its end: on a link slow enough to matter both are small. Times in seconds.
double PredictStep(double step_s, double backward_s, const ExchangeCost& cost);

struct CompressionDecision {
  LinkCost link;
  ExchangeCost raw;          // all segments in fp32
  ExchangeCost compressed;   // with their codecs
  bool compress = false;     // compressed is faster by kLeastGain at least
};

inline constexpr double kLeastGain = 0.1;   // of raw.seconds()

// Measures and decides; the same on every rank. The segments' values are not looked at. Collective.
absl::StatusOr<CompressionDecision> DecideCompression(Communicator& communicator, absl::Span<const GradientBucket> buckets,
                                                      bool error_feedback, const CostProbe& probe = {});

}  // namespace ds
