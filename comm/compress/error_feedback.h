// Residuals of lossy exchange (Seide et al., "1-bit stochastic gradient descent", Interspeech 2014;
// Karimireddy et al., "Error feedback fixes SignSGD", ICML 2019): what rounding took away in one
// step is added back in the next.
//
// Every residual has two buffers: `current`, which the step reads, and `pending`, which it writes.
// Commit exchanges the two; a step that is skipped does not commit, and so changes nothing. That
// costs a second float a parameter and no time. Undoing the additions instead would not give the
// old bits back, and whether a step is skipped is known only after its last bucket was encoded.
//
// Ranges are added first; then different ranges, and parts of one, may be read and written from
// different threads. The rest is for one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/compress/compressor_state.h"

namespace ds {

class ErrorFeedback {
 public:
  // A residual of elements [first_element, first_element + count) of parameter `name`; returns its
  // index. `kind` is kWorkerResidual or kOwnerResidual.
  int Add(absl::string_view kind, std::string name, int64_t first_element, int64_t count);
  // Gives every range its memory, zeroed. Until then (or an Import that finds something) ranges
  // have none: empty spans.
  void Allocate();

  absl::Span<const float> current(int range) const {
    return ranges_[static_cast<size_t>(range)].current;
  }
  absl::Span<float> pending(int range) {
    return absl::MakeSpan(ranges_[static_cast<size_t>(range)].pending);
  }
  // What was written is valid from now on. Every element of every range must have been written
  // since the last Commit.
  void Commit();

  void Export(CompressorState& state) const;
  // Sets every range from `state`, whose ranges may be cut otherwise; zeros where it has nothing.
  absl::Status Import(const CompressorState& state);

 private:
  struct Range {
    std::string kind;
    std::string name;
    int64_t first_element;
    int64_t count;
    std::vector<float> current;
    std::vector<float> pending;
  };
  std::vector<Range> ranges_;
};

}  // namespace ds
