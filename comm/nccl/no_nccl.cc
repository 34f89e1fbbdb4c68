#include "comm/nccl/nccl_api.h"

namespace ds {

absl::StatusOr<NcclRuntime> CreateNcclRuntime() {
  return absl::UnavailableError(
      "this program was built without NCCL (configure with -DDS_ENABLE_NCCL=ON for what is "
      "missing); use comm.backend mpi or auto");
}

}  // namespace ds
