// What ranks must agree on before NCCL runs, over a communicator that needs no device ("bootstrap":
// MPI, or one in-process). All functions are collective over it, and all ranks get the same error:
// no rank is left waiting for one that gave up.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "comm/nccl/nccl_api.h"

namespace ds {

// The device that this rank is to use: `wanted`, or, if it is negative, its place among the ranks
// of its host, modulo the devices it sees (a launcher may show each rank its own only). `host`
// names this machine; empty: ThisHost() of comm/hosts.h. Unavailable if a rank sees no device;
// InvalidArgument if `wanted` is not there; FailedPrecondition if two ranks would share one.
absl::StatusOr<int> AgreeOnDevice(Communicator& bootstrap, DeviceApi& devices, int wanted,
                                  const std::string& host);

// An id that rank 0 made, on every rank.
absl::StatusOr<NcclUniqueId> ShareUniqueId(Communicator& bootstrap, NcclApi& nccl);

}  // namespace ds
