// Element-wise reduction of one buffer into another.
#pragma once

#include "absl/status/status.h"
#include "comm/communicator.h"

namespace ds {

// InvalidArgument for an element type that Communicator::AllReduce does not take.
absl::Status CheckReducible(DType dtype);
// into[i] = op(into[i], from[i]); both hold `count` elements of a reducible type.
void ReduceInto(std::byte* into, const std::byte* from, int64_t count, DType dtype, ReduceOp op);

}  // namespace ds
