// A file as a BlobReader: read where and when it is asked for, never mapped, so that a large blob
// takes no memory. A file that is removed meanwhile can still be read.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "federated/store/store.h"

namespace ds::federated {

// size() is as it was on opening. NotFound where there is no such file.
absl::StatusOr<std::shared_ptr<BlobReader>> OpenFileReader(const std::string& path);

}  // namespace ds::federated
