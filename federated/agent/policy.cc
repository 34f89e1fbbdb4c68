#include "federated/agent/policy.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/hex.h"
#include "base/status.h"
#include "federated/strategy/check_options.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestRun = 64;

template <typename... Parts>
absl::Status Refuse(const Parts&... parts) {
  return absl::PermissionDeniedError(absl::StrCat(
      "this site's policy refuses the run: ", parts...,
      "; mend: the aggregator's configuration, or this site's policy if its owner agrees"));
}

absl::Status CheckNames(const RunOffer& offer) {
  const bool printable = std::all_of(offer.run.begin(), offer.run.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_';
  });
  if (offer.run.empty() || offer.run.size() > kLongestRun || !printable)
    return absl::InvalidArgumentError(absl::StrCat("the aggregator's run has no usable name: 1 to ",
                                                   kLongestRun,
                                                   " letters, digits, '-' or '_' are wanted"));
  if (!IsSha256Hex(offer.model))
    return absl::InvalidArgumentError("the offer's model is not named by a SHA-256");
  return absl::OkStatus();
}

absl::Status CheckSecure(const AgentPolicy& policy, const SecureOptions& secure) {
  if (secure.mode == "off") {
    if (!policy.require_secure) return absl::OkStatus();
    return Refuse("secure.mode is 'off', and the site wants its updates masked");
  }
  if (policy.secure.strict && secure.mode != "strict")
    return Refuse("secure.mode is '", secure.mode, "', and the site wants 'strict'");
  if (secure.threshold > 0 && secure.threshold < policy.secure.threshold)
    return Refuse("secure.threshold is ", secure.threshold, ", and the site wants at least ",
                  policy.secure.threshold);
  return absl::OkStatus();
}

absl::Status CheckPrivacy(const AgentPolicy& policy, const PrivacyOptions& privacy) {
  const bool on = privacy.mechanism != "none", own = on && privacy.mechanism != "central";
  if (policy.require_noise && !own)
    return Refuse("privacy.mechanism is '", privacy.mechanism,
                  "', and the site wants to add noise itself (discrete_gaussian, skellam)");
  if (policy.least_noise_multiplier > 0 &&
      (!on || privacy.noise_multiplier < policy.least_noise_multiplier))
    return Refuse("the noise multiplier is ", on ? privacy.noise_multiplier : 0.0,
                  ", and the site wants at least ", policy.least_noise_multiplier);
  if (policy.most_epsilon <= 0) return absl::OkStatus();
  if (!on || privacy.epsilon_budget <= 0)
    return Refuse("no privacy budget is set, and the site wants at most epsilon ",
                  policy.most_epsilon);
  if (privacy.epsilon_budget > policy.most_epsilon)
    return Refuse("privacy.epsilon_budget is ", privacy.epsilon_budget,
                  ", and the site allows at most ", policy.most_epsilon);
  if (privacy.delta > policy.most_delta)
    return Refuse("privacy.delta is ", privacy.delta, ", and the site allows at most ",
                  policy.most_delta);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOffer(const AgentPolicy& policy, const RunOffer& offer) {
  DS_RETURN_IF_ERROR(CheckNames(offer));
  DS_RETURN_IF_ERROR(Annotate(CheckRunOptions(offer.options), "the aggregator's offer"));
  const RunOptions& options = offer.options;
  const std::vector<std::string>& allowed = policy.strategies;
  if (!allowed.empty() &&
      std::find(allowed.begin(), allowed.end(), options.strategy.name) == allowed.end())
    return Refuse("strategy.name is '", options.strategy.name, "', and the site allows ",
                  absl::StrJoin(allowed, ", "));
  if (policy.most_rounds > 0 && options.round.rounds > policy.most_rounds)
    return Refuse("round.rounds is ", options.round.rounds, ", and the site allows at most ",
                  policy.most_rounds);
  if (!policy.declare_samples && options.update.declare_samples)
    return Refuse("update.declare_samples is on, and the site does not name its sample count");
  DS_RETURN_IF_ERROR(CheckSecure(policy, options.secure));
  return CheckPrivacy(policy, options.privacy);
}

}  // namespace ds::federated
