// MPI's return codes as Status.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds {

// OK for MPI_SUCCESS; else a status with the failing call and MPI's own words. Peers that are gone
// are Unavailable, a message longer than the buffer is InvalidArgument, the rest Internal.
absl::Status MpiStatus(int code, absl::string_view call);

}  // namespace ds

#define DS_RETURN_IF_MPI_ERROR(call) DS_RETURN_IF_ERROR(::ds::MpiStatus((call), #call))
