// The IDX format of MNIST and Fashion-MNIST, from bytes: a big-endian header (two zero bytes,
// element type, number of dimensions, the extents), then the elements. Every count is verified
// against the bytes that are there before it is used. Format, byte by byte: docs/data.md.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/file_bytes.h"

namespace ds {

struct IdxImages {
  int64_t count = 0, height = 0, width = 0;
  std::vector<uint8_t> pixels;  // count * height * width
};

// Uncompressed or gzip bytes of an idx3-ubyte file. `origin` names the file in errors. DataLoss
// names the byte offset of what is wrong.
absl::StatusOr<IdxImages> ParseIdxImages(ByteSpan bytes, absl::string_view origin);

// The same of an idx1-ubyte file: one label a sample.
absl::StatusOr<std::vector<uint8_t>> ParseIdxLabels(ByteSpan bytes, absl::string_view origin);

}  // namespace ds
