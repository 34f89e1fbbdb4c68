// Bits for each tensor from measured error: every candidate's squared error on this step's
// gradients is added up over the ranks, and the widths are chosen that together make no more error
// than one width for all would, in the fewest bytes (Alimohammadi, Markov, Frantar, Alistarh,
// "L-GreCo: layerwise-adaptive gradient compression for efficient and accurate deep learning",
// MLSys 2024; the knapsack is base/knapsack.h's).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

struct AutoBitsOptions {
  CodecOptions codec;  // of kind kUniform; its bits do not matter
  std::vector<int> candidates = {1, 2, 3, 4,
                                 5, 6, 7, 8};  // bits, ascending; must contain reference_bits
  int reference_bits = 4;  // the budget is the error of this width for all tensors
};

class AutoBits {
 public:
  // InvalidArgument for candidates that are no widths, or lack reference_bits.
  static absl::StatusOr<std::unique_ptr<AutoBits>> Create(const AutoBitsOptions& options);

  // Adds what the candidates lose on the segments that have a codec. On values that hold this
  // rank's gradients, before they are encoded; the same segments on every rank. `noise` gives seed,
  // step and rank. Costs about as much as encoding once with each candidate.
  void Measure(absl::Span<const GradientSegment> segments, const CodecNoise& noise);

  // The codec for each tensor measured since the last call, for SetCodecs; the same on every rank.
  // Nothing if the gradients were not finite, or nothing was measured. Collective.
  absl::StatusOr<std::map<std::string, std::shared_ptr<const Codec>>> Decide(
      Communicator& communicator);

 private:
  struct Measured {
    std::vector<double> errors;  // squared, of each candidate
    std::vector<int64_t> bytes;
  };
  AutoBits(const AutoBitsOptions& options, std::vector<std::shared_ptr<const Codec>> codecs,
           size_t reference)
      : options_(options), codecs_(std::move(codecs)), reference_(reference) {}

  const AutoBitsOptions options_;
  const std::vector<std::shared_ptr<const Codec>> codecs_;  // of each candidate
  const size_t reference_;                                  // index of reference_bits
  std::map<std::string, Measured> measured_;  // by tensor: the same order on every rank
};

}  // namespace ds
