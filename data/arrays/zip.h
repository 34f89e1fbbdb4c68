// The directory of a ZIP file (PKWARE's APPNOTE 6.3), and with it NumPy's .npz files, from bytes:
// members stored as they are, or deflated; sizes beyond 4 GiB (zip64) too. Nothing is believed:
// every offset and size is checked against the file, and what is inflated has a limit and a
// checksum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/arrays/npy.h"

namespace ds {

struct ZipMember {
  std::string name;
  bool deflated = false;
  uint32_t crc = 0;
  int64_t size = 0;                   // bytes, inflated
  absl::Span<const std::byte> bytes;  // as they lie in the file
};

// Members in the directory's order. DataLoss with the byte offset of what is damaged,
// InvalidArgument for what is not read (encryption, other methods, files in parts). Names are
// unique.
absl::StatusOr<std::vector<ZipMember>> ParseZip(absl::Span<const std::byte> bytes,
                                                absl::string_view origin);

// The arrays of a .npz file, by their names without ".npy". Stored ones share `bytes`, which
// `owner` keeps alive; deflated ones are inflated into memory, as long as all of them stay within
// `max_inflated` bytes: else ResourceExhausted says how to write the file so that it is mapped.
absl::StatusOr<std::vector<StoredArray>> ParseNpz(absl::Span<const std::byte> bytes,
                                                  absl::string_view origin,
                                                  std::shared_ptr<const void> owner,
                                                  int64_t max_inflated);

}  // namespace ds
