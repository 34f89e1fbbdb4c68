// NumPy's array files (.npy, numpy.lib.format 1.0 to 3.0), from bytes: a magic string, a version,
// the length of a header, the header (a Python literal of three keys), then the elements.
// Everything is verified before it is used. Format, byte by byte: docs/data.md.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"

namespace ds {

// An array in a file or in memory, row by row, whose bytes may lie at any address (a Tensor's may
// not): what reads it copies them.
struct StoredArray {
  std::string name;
  std::string origin;  // the file, for messages
  DType dtype = DType::kFloat32;
  Shape shape;
  absl::Span<const std::byte> bytes;
  std::shared_ptr<const void> owner;  // of the bytes
};

// `bytes` must end where the header's shape and type say. DataLoss with the byte offset for what is
// damaged, InvalidArgument for what is not read: columns first, big-endian numbers, objects,
// strings, structures, complex numbers. Name and owner are left to the caller.
absl::StatusOr<StoredArray> ParseNpy(absl::Span<const std::byte> bytes, absl::string_view origin);

}  // namespace ds
