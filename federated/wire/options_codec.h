// RunOptions on the wire. Seen by federated/wire/'s sources only.
#pragma once

#include "absl/status/statusor.h"
#include "federated/options/options.h"

namespace ds::federated::v1 {
class Options;
}  // namespace ds::federated::v1

namespace ds::federated {

void PutOptions(const RunOptions& options, v1::Options& wire);
// What is absent keeps its default; CheckRunOptions has said yes to what comes back.
absl::StatusOr<RunOptions> GetOptions(const v1::Options& wire);

}  // namespace ds::federated
