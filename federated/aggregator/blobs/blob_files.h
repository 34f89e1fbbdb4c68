// Blobs from and to files, block by block: a model may be larger than the memory.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "federated/round/records.h"
#include "federated/store/store.h"

namespace ds::federated {

// Not durable: for a file that is read once.
absl::Status BlobToFile(const BlobReader& blob, const std::string& path);
// Durable.
absl::StatusOr<BlobRef> FileToBlob(const std::string& path, Store& store);
// No error where it is not there.
void RemoveScratch(const std::string& path);

}  // namespace ds::federated
