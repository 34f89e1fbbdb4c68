// Einsum's equation against the shapes of its operands; shape inference and cost read it alike.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "graph/schema/schema.h"

namespace ds::schema {

struct EinsumAxes {
  std::map<char, int64_t> extents;  // of every letter
  Shape leading;                    // axes under "...", broadcast
  Shape output;
};

// InvalidArgument where the equation and the operands do not fit, FailedPrecondition where an
// operand's shape is not known.
absl::StatusOr<EinsumAxes> ReadEinsum(const InferenceContext& context);

}  // namespace ds::schema
