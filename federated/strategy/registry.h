// Strategies by name: fedavg, fedprox, scaffold, fedadam, fedyogi, fedavgm, trimmed_mean, median,
// krum, multi_krum, fedbuff (docs/federated-updates.md, "Strategies").
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/options/options.h"
#include "federated/strategy/strategy.h"

namespace ds::federated {

// In the order of the list above.
std::vector<absl::string_view> StrategyNames();
// InvalidArgument for a name that is none, with the nearest that is.
absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(const StrategyOptions& options);

}  // namespace ds::federated
