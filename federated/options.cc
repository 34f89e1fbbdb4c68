#include "federated/options.h"

namespace ds::federated {

absl::Status CheckRunOptions(const RunOptions& options) { return absl::OkStatus(); }

}  // namespace ds::federated
