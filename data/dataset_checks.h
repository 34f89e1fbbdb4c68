// What every data set refuses, and how many samples a limit leaves.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "data/dataset.h"

namespace ds {

// `size` samples cut down to `limit` (0: all).
int64_t LimitedSize(int64_t size, int64_t limit);

// Refuses an index out of range, a sample of the other kind, and a buffer of another size.
absl::Status CheckRead(const DatasetInfo& info, SampleKind kind, int64_t index, int64_t elements);

// Of tensors: refuses an index out of range and buffers of other sizes than info has.
absl::Status CheckReadTensors(const DatasetInfo& info, int64_t index,
                              absl::Span<const absl::Span<std::byte>> inputs,
                              absl::Span<std::byte> target);

// Bytes of one sample's array. It fits memory: who fills in DatasetInfo has seen to it.
int64_t SampleBytes(const ArrayInfo& array);

// The answer of a data set of one kind when asked for another.
absl::Status WrongKind(SampleKind held, SampleKind asked);

}  // namespace ds
