// Reads data files whole, gzip or plain, and distrusts both: sizes are bounded, a gzip stream must
// end exactly where its file does and match its checksum.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds {

using ByteSpan = absl::Span<const uint8_t>;

// All bytes of a regular file. NotFound if there is none, ResourceExhausted above `max_bytes`.
absl::StatusOr<std::vector<uint8_t>> ReadFileBytes(const std::string& path, int64_t max_bytes);

// True if `bytes` begins as a gzip stream.
bool IsGzip(ByteSpan bytes);

// The inflated contents of a gzip stream (several members in a row are one stream, as for gunzip).
// DataLoss for a damaged, truncated or trailing part; ResourceExhausted once the output would
// exceed `max_bytes`. `origin` names the file in errors.
absl::StatusOr<std::vector<uint8_t>> InflateGzip(ByteSpan bytes, absl::string_view origin,
                                                 int64_t max_bytes);

// At most the first `count` inflated bytes of a gzip stream, without a look at the rest.
absl::StatusOr<std::vector<uint8_t>> InflateGzipPrefix(ByteSpan bytes, absl::string_view origin,
                                                       int64_t count);

}  // namespace ds
