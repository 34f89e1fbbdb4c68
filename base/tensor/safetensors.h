// The safetensors format (docs/safetensors.md): an 8-byte little-endian header length, a JSON
// header, then the tensors' bytes. Readers trust nothing: every offset, count, type and size is
// checked before use, and data must fill the file without gaps or overlaps, as the format demands.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/tensor.h"

namespace ds {

using TensorMap = std::map<std::string, Tensor>;
using StringMap = std::map<std::string, std::string>;

// Maps the file; the tensors share its pages, which are read-only: Clone() one before you write to
// it. NotFound, or DataLoss naming the file and the fault.
absl::StatusOr<TensorMap> ReadSafetensors(const std::string& path, StringMap* metadata = nullptr);
// The same from memory that `owner` keeps alive (null: the caller does). `origin` stands for the
// file in messages.
absl::StatusOr<TensorMap> ParseSafetensors(absl::string_view bytes, absl::string_view origin,
                                           const std::shared_ptr<void>& owner = nullptr,
                                           StringMap* metadata = nullptr);

// Data starts at a multiple of 64 bytes and each tensor at a multiple of its element; the same
// input gives the same bytes. InvalidArgument for types that the format lacks (4 and 2 bits) and
// names that are not UTF-8.
absl::StatusOr<std::string> SerializeSafetensors(const TensorMap& tensors,
                                                 const StringMap& metadata = {});
// The same bytes, handed to `sink` in pieces: the tensors are not copied. An error of `sink` ends
// it and comes back.
using ByteSink = absl::FunctionRef<absl::Status(absl::string_view bytes)>;
absl::Status SerializeSafetensorsTo(const TensorMap& tensors, const StringMap& metadata,
                                    ByteSink sink);
// Written atomically.
absl::Status WriteSafetensors(const std::string& path, const TensorMap& tensors,
                              const StringMap& metadata = {});

}  // namespace ds
