// Mixed widths: gives each layer the number of bits with which the network suffers least within a
// budget of bytes: the knapsack of base/knapsack.h, solved exactly.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ds {

// How many bits a code takes up.
enum class CodeStorage {
  kFile,   // as quant/storage_type.h and ONNX files: 2; 4 for 3 and 4 bits; 8 for 5 to 8
  kTight,  // as many as it has
};

// Of a weight tensor: its codes, and four bytes a scale. bits in 2..8.
int64_t QuantizedBytes(int64_t weights, int bits, int64_t scales, CodeStorage storage);

// One width that a layer may have.
struct BitChoice {
  int bits = 8;
  int64_t bytes = 0;  // >= 0
  double error = 0;   // what it costs the network; finite, >= 0; errors of layers add up
};

struct BitAssignment {
  std::vector<int> bits;  // a layer
  int64_t bytes = 0;
  double error = 0;
  // No assignment within the budget has an error below this. Equal to `error` where the search was
  // complete, which it is unless more than `most_states` combinations remained that neither another
  // one nor the bound rules out.
  double least_error = 0;
};

// One choice a layer, bytes together at most `budget_bytes`, errors together as small as can be.
// The same input gives the same result. InvalidArgument for no layers, a layer without choices or a
// choice out of range (which); FailedPrecondition where the smallest choices exceed the budget
// (says how much they need).
absl::StatusOr<BitAssignment> SearchBits(absl::Span<const std::vector<BitChoice>> layers,
                                         int64_t budget_bytes, int64_t most_states = 1 << 22);

}  // namespace ds
