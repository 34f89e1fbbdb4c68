// Is the result of a compressed all-reduce right? Worked out anew, block by block, from numbers
// that every rank can make for all ranks.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "codec/codec.h"
#include "comm/communicator.h"

namespace ds {

// What rank `rank` contributes at `element`: spread evenly over [-1, 1), a hash of both.
float BenchValue(int64_t element, int rank);
void FillBenchValues(int rank, absl::Span<float> values);

struct ExchangeCheck {
  int64_t mismatches = 0;       // values that differ from the serial simulation, all ranks together
  bool replicas_equal = false;  // all ranks hold the same bits
  double worst_error = 0;       // of all values: |result - exact sum|,
  double error_over_bound = 0;  // and as a share of the analytic bound of two quantisations
  bool ok() const { return mismatches == 0 && replicas_equal && error_over_bound <= 1; }
};

// Checks `result`: scale times the sum over the ranks of their bench values, exchanged with `codec`
// (null: fp32) and this noise (rank and element are set here), without residuals. Each rank checks
// a part of it; the verdict is the same on all. Collective.
absl::StatusOr<ExchangeCheck> CheckExchange(Communicator& communicator,
                                            absl::Span<const float> result,
                                            const std::shared_ptr<const Codec>& codec,
                                            CodecNoise noise, float scale);

}  // namespace ds
