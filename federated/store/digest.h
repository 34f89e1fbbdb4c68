// Names of blobs, and the checks that both stores make of their callers.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

// InvalidArgument unless it is 64 lower-case hexadecimal digits.
absl::Status CheckDigest(absl::string_view digest);
// InvalidArgument where `count` bytes at `offset` leave a gap behind `received` or end beyond
// `size`.
absl::Status CheckWrite(const std::string& digest, int64_t offset, int64_t count, int64_t received,
                        int64_t size);
absl::Status WriterIsOpen(const std::string& digest);  // the error of it
absl::Status NotAllThere(const std::string& digest, int64_t received, int64_t size);  // likewise
absl::Status WrongBytes(const std::string& digest, absl::string_view found);          // likewise
absl::Status OtherBytes(const std::string& digest, int64_t offset);                   // likewise

}  // namespace ds::federated
