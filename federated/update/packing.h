// Values in their natural width to and from so many bits each (integers.h has the format), by one
// table of functions an instruction set. All give the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ds::federated {

// `count` values from `in` to `out`, which do not overlap.
using PackingFunction = void (*)(const std::byte* in, int64_t count, std::byte* out);

struct PackingKernels {
  PackingFunction pack[32], unpack[32];  // of 1, 2, ... 32 bits
};

const PackingKernels& PortablePacking();
const PackingKernels& Bmi2Packing();  // x86 only: where HasFastBmi2()

bool HasFastBmi2();
const PackingKernels& BestPacking();

}  // namespace ds::federated
