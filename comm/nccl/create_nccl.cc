#include <utility>

#include "base/status.h"
#include "comm/bytes.h"
#include "comm/nccl/nccl_bootstrap.h"
#include "comm/nccl/nccl_communicator.h"

namespace ds {

absl::StatusOr<std::unique_ptr<Communicator>> CreateNcclCommunicator(
    std::unique_ptr<Communicator> bootstrap, const NcclOptions& options) {
  bootstrap->set_timeout(options.timeout);
  absl::StatusOr<NcclRuntime> runtime = CreateNcclRuntime();
  DS_RETURN_IF_ERROR(AgreeOnStatus(runtime.status(), *bootstrap));
  return CreateNcclCommunicator(*std::move(runtime), std::move(bootstrap), options);
}

}  // namespace ds
