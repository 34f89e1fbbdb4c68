// The NCCL backend, for ranks with a GPU each.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace ds {

// `bootstrap` carries NCCL's unique id from rank 0 to the others and is kept. Unavailable if it was built without NCCL or no device is
// found.
absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(std::unique_ptr<Communicator> bootstrap);

}  // namespace ds
