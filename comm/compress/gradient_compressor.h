// Sums gradients over the ranks in fewer bytes than float32. One interface for quantisation, top-k,
// PowerSGD and hierarchies; it is made for fixed buckets of memory
// (comm/compress/gradient_segment.h) and used step by step:
//
//   compressor->BeginStep({.step = n, .scale = 1.0f / ranks});
//   for each bucket b:
//     fill its memory
//     compressor->Encode(b);    // optional, ahead of time, on any thread
//   for each bucket b:
//     compressor->Exchange(b);  // the communication thread, same order on every rank
//   compressor->EndStep(/*commit=*/!flag);  // flag: some rank's gradients, or what came of them
//                                           // (NotFinite), were not finite
//
// After Exchange(b) the bucket's memory holds, with the same bits on every rank, sum over ranks of
// scale * values (+ what earlier steps owe, - what this one will owe). Scaling by 1/ranks gives the
// mean, and residuals in the mean's units: their sum means the same whatever the number of ranks.
// NaN and Inf on one rank arrive as NaN or Inf on all; the step must then end with commit = false,
// after which all residuals are as before it. With one rank nothing is lossy: the values are scaled
// and imported residuals paid out.
//
// Threads: Encode may run concurrently with everything but BeginStep, EndStep and the calls on its
// own bucket. The rest is for one thread at a time, the one that may use the communicator.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace ds {

// Named float32 arrays that it carries from step to step (comm/compress/compressor_state.h has the
// names).
using CompressorState = std::map<std::string, std::vector<float>>;

struct CompressorStep {
  uint64_t step = 0;   // keys the rounding noise; the same on every rank
  float scale = 1.0f;  // of this rank's values; the same on every rank
  // Results from this magnitude on are as bad as Inf; the same on every rank.
  float limit = std::numeric_limits<float>::infinity();
};

class GradientCompressor {
 public:
  virtual ~GradientCompressor() = default;

  virtual int buckets() const = 0;
  virtual void BeginStep(const CompressorStep& step) = 0;
  // The part before any communication, of a bucket whose memory is filled. Once a step at most;
  // Exchange does it where it was not done.
  virtual void Encode(int bucket) = 0;
  // The rest. Collective. The communicator's errors, after which the compressor is of no more use;
  // DataLoss for bytes that cannot have come from a peer with the same plan.
  virtual absl::Status Exchange(int bucket) = 0;
  // The first tensor of an exchanged bucket whose result is NaN or not below CompressorStep::limit
  // (finite values may add up to Inf, or a codec cannot hold them); empty: none. The same on every
  // rank. A step in which there is one must end with commit = false.
  virtual std::string NotFinite(int bucket) const = 0;
  // Every bucket must have been exchanged if `commit`.
  virtual void EndStep(bool commit) = 0;

  // Bytes that this rank hands to its communicators in Exchange(bucket), exactly.
  virtual int64_t PredictedWireBytes(int bucket) const = 0;
  // Bytes handed so far to communicators of its own (a hierarchy has some), beside the one that it
  // was given.
  virtual int64_t OwnBytesSent() const { return 0; }

  // Between steps. Import takes what belongs to this rank (ResidualSum); parameters that it
  // lacks start from zero.
  virtual CompressorState ExportState() const = 0;
  virtual absl::Status ImportState(const CompressorState& state) = 0;
};

}  // namespace ds
