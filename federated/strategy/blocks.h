// Packed updates, read block by block.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "federated/strategy/strategy.h"

namespace ds::federated {

// A multiple of 8; of all updates together they stay in the second-level cache.
constexpr int64_t kBlockValues = 16384;

// Bytes of values [first, first + count) of a packed update; `first` is a multiple of 8.
absl::Status ReadPacked(const BlobReader& packed, int bits, int64_t first, int64_t count,
                        std::vector<std::byte>& bytes);

// The same values of all updates as rows of 16-bit integers: rows[u][i], valid during the call.
using RowVisitor =
    absl::FunctionRef<void(int64_t first, int64_t count, absl::Span<uint16_t* const> rows)>;
// Visits values [first, end) in blocks of kBlockValues at most; `first` is a multiple of 8, bits at
// most 16.
absl::Status VisitRows(absl::Span<const UpdateBlob> updates, int bits, int64_t first, int64_t end,
                       RowVisitor visit);

// Sizes of all updates, and that there are as many as the strategy needs.
absl::Status CheckRequest(const Strategy& strategy, const CombineRequest& request);

// Bits of a sum in which a value is at most `most` times the greatest of `bits` bits.
int SumBits(int64_t most, int bits);

}  // namespace ds::federated
