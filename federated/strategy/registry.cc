#include "federated/strategy/registry.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/edit_distance.h"
#include "federated/strategy/robust.h"
#include "federated/strategy/sum.h"

namespace ds::federated {
namespace {

struct Entry {
  StrategyTraits traits;
  std::unique_ptr<Strategy> (*make)(const StrategyTraits& traits, const StrategyOptions& options);
};

std::unique_ptr<Strategy> Adds(const StrategyTraits& traits, const StrategyOptions& /*options*/) {
  return MakeSum(traits);
}

constexpr Entry kEntries[] = {
    {{.name = "fedavg"}, Adds},
    {{.name = "fedprox"}, Adds},
    {{.name = "scaffold", .control_variates = true}, Adds},
    {{.name = "fedadam"}, Adds},
    {{.name = "fedyogi"}, Adds},
    {{.name = "fedavgm"}, Adds},
    {{.name = "trimmed_mean", .individual_updates = true},
     [](const StrategyTraits& traits, const StrategyOptions& options) {
       return MakeTrimmedMean(traits, options.trim);
     }},
    {{.name = "median", .individual_updates = true},
     [](const StrategyTraits& traits, const StrategyOptions& /*options*/) {
       return MakeMedian(traits);
     }},
    {{.name = "krum", .individual_updates = true},
     [](const StrategyTraits& traits, const StrategyOptions& options) {
       return MakeKrum(traits, options.byzantine, /*multi=*/false);
     }},
    {{.name = "multi_krum", .individual_updates = true},
     [](const StrategyTraits& traits, const StrategyOptions& options) {
       return MakeKrum(traits, options.byzantine, /*multi=*/true);
     }},
    {{.name = "fedbuff", .asynchronous = true},
     [](const StrategyTraits& traits, const StrategyOptions& /*options*/) {
       return MakeBuffered(traits);
     }},
};

}  // namespace

std::vector<absl::string_view> StrategyNames() {
  std::vector<absl::string_view> names;
  for (const Entry& entry : kEntries) names.push_back(entry.traits.name);
  return names;
}

absl::StatusOr<std::unique_ptr<Strategy>> MakeStrategy(const StrategyOptions& options) {
  for (const Entry& entry : kEntries) {
    if (entry.traits.name == options.name) return entry.make(entry.traits, options);
  }
  const std::vector<absl::string_view> names = StrategyNames();
  const std::string nearest =
      NearestName(options.name, std::vector<std::string>(names.begin(), names.end()));
  return absl::InvalidArgumentError(
      absl::StrCat("there is no strategy '", options.name, "'",
                   nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?"),
                   " There are ", absl::StrJoin(names, ", ")));
}

}  // namespace ds::federated
