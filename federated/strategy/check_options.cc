#include "federated/strategy/check_options.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "federated/strategy/registry.h"

namespace ds::federated {
namespace {

constexpr int64_t kMostSites = 1 << 20;
constexpr int64_t kMostRoundsASetup = 1024;

absl::Status Bad(absl::string_view field, absl::string_view is, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(field, " is ", is, ": ", why));
}

absl::Status AtLeast(absl::string_view field, int64_t value, int64_t least) {
  if (value >= least) return absl::OkStatus();
  return Bad(field, absl::StrCat(value), absl::StrCat("it must be at least ", least));
}

// `open_low`: low itself is not allowed; high always is.
absl::Status Within(absl::string_view field, double value, double low, bool open_low, double high) {
  if ((open_low ? value > low : value >= low) && value <= high) return absl::OkStatus();
  return Bad(field, absl::StrCat(value),
             absl::StrCat("it must be ", open_low ? "above " : "at least ", low,
                          std::isinf(high) ? "" : absl::StrCat(" and at most ", high)));
}

absl::Status OneOf(absl::string_view field, absl::string_view value,
                   const std::vector<absl::string_view>& allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return absl::OkStatus();
  return Bad(field, absl::StrCat("'", value, "'"),
             absl::StrCat("it is one of ", absl::StrJoin(allowed, ", ")));
}

absl::Status CheckRound(const RoundOptions& round) {
  constexpr double kForever = 1e9;
  DS_RETURN_IF_ERROR(AtLeast("round.rounds", round.rounds, 1));
  DS_RETURN_IF_ERROR(AtLeast("round.goal", round.goal, 0));
  DS_RETURN_IF_ERROR(AtLeast("round.minimum", round.minimum, 1));
  DS_RETURN_IF_ERROR(AtLeast("round.spare", round.spare, 0));
  DS_RETURN_IF_ERROR(AtLeast("round.abandoned_in_a_row", round.abandoned_in_a_row, 1));
  DS_RETURN_IF_ERROR(Within("round.sample", round.sample, 0, true, 1));
  DS_RETURN_IF_ERROR(Within("round.deadline_s", round.deadline_s, 0, true, kForever));
  DS_RETURN_IF_ERROR(Within("round.unmask_deadline_s", round.unmask_deadline_s, 0, true, kForever));
  if (round.wait_for < round.minimum || round.wait_for > kMostSites) {
    return Bad("round.wait_for", absl::StrCat(round.wait_for),
               absl::StrCat("it must be at least round.minimum, ", round.minimum,
                            ", for fewer sites could never publish, and at most ", kMostSites));
  }
  if (round.goal > 0 && round.goal < round.minimum) {
    return Bad(
        "round.goal", absl::StrCat(round.goal),
        absl::StrCat("a round would end below round.minimum, ", round.minimum,
                     ": raise the one or lower the other; 0 waits for all that were selected"));
  }
  if (round.spare > 0 && round.goal == 0) {
    return Bad(
        "round.spare", absl::StrCat(round.spare),
        "without round.goal a round waits for every site that was selected, so none is spare");
  }
  return absl::OkStatus();
}

absl::Status CheckStrategy(const RunOptions& options, const Strategy& strategy) {
  constexpr double kInfinity = HUGE_VAL;
  const StrategyOptions& s = options.strategy;
  DS_RETURN_IF_ERROR(Within("strategy.server_learning_rate", s.server_learning_rate, 0, true, 1e6));
  DS_RETURN_IF_ERROR(Within("strategy.momentum", s.momentum, 0, false, 0.9999));
  DS_RETURN_IF_ERROR(Within("strategy.second_moment", s.second_moment, 0, false, 0.999999));
  DS_RETURN_IF_ERROR(Within("strategy.epsilon", s.epsilon, 0, true, 1e6));
  DS_RETURN_IF_ERROR(Within("strategy.proximal", s.proximal, 0, false, kInfinity));
  if (!(s.trim >= 0 && s.trim < 0.5)) {
    return Bad("strategy.trim", absl::StrCat(s.trim),
               "it must be at least 0 and below 0.5, or no update would be left");
  }
  DS_RETURN_IF_ERROR(AtLeast("strategy.byzantine", s.byzantine, 0));
  DS_RETURN_IF_ERROR(AtLeast("strategy.buffer", s.buffer, 1));
  DS_RETURN_IF_ERROR(AtLeast("strategy.max_staleness", s.max_staleness, 0));
  DS_RETURN_IF_ERROR(Within("strategy.buffer", static_cast<double>(s.buffer), 1, false, 1 << 16));
  DS_RETURN_IF_ERROR(
      Within("strategy.max_staleness", static_cast<double>(s.max_staleness), 0, false, 1024));
  if (options.round.minimum < strategy.least_updates()) {
    return Bad(
        "round.minimum", absl::StrCat(options.round.minimum),
        absl::StrCat("strategy ", s.name, " against ", s.byzantine, " hostile sites needs 2 * ",
                     s.byzantine, " + 3 = ", strategy.least_updates(),
                     " updates: raise it, or lower strategy.byzantine"));
  }
  if (strategy.traits().asynchronous && options.round.sample < 1) {
    return Bad(
        "round.sample", absl::StrCat(options.round.sample),
        absl::StrCat("strategy ", s.name, " has no rounds to select sites for: leave it at 1"));
  }
  return absl::OkStatus();
}

absl::Status CheckUpdate(const UpdateOptions& update) {
  if (update.bits < 1 || update.bits > 16)
    return Bad("update.bits", absl::StrCat(update.bits), "it must be 1 to 16");
  DS_RETURN_IF_ERROR(OneOf("update.weighting", update.weighting, {"samples", "equal"}));
  DS_RETURN_IF_ERROR(AtLeast("update.samples_reference", update.samples_reference, 0));
  DS_RETURN_IF_ERROR(Within("update.clip_norm", update.clip_norm, 0, false, 1e30));
  if (update.weighting == "samples" && update.samples_reference == 0 && !update.declare_samples) {
    return Bad("update.samples_reference", "0",
               "sites that do not declare their sample counts need a count that weighs 1: set it, "
               "or set update.declare_samples or update.weighting: equal");
  }
  return absl::OkStatus();
}

absl::Status CheckThreshold(const RunOptions& options) {
  const SecureOptions& secure = options.secure;
  const int64_t sites = options.round.wait_for, colluders = secure.colluders;
  const int64_t least = (sites + colluders) / 2 + 1;
  if (sites < 2 || least > sites) {
    return Bad("secure.colluders", absl::StrCat(colluders),
               absl::StrCat("among round.wait_for = ", sites,
                            " sites the threshold t must hold 2t > N + c = ", sites, " + ",
                            colluders, ", so t >= ", least,
                            ", more than there are: wait for more "
                            "sites or tolerate fewer colluders"));
  }
  if (secure.threshold != 0 && (secure.threshold < least || secure.threshold > sites)) {
    return Bad("secure.threshold", absl::StrCat(secure.threshold),
               absl::StrCat("with N = ", sites, " sites and c = ", colluders,
                            " colluders 2t > N + c wants ", least, " <= t <= ", sites,
                            "; 0 takes the least"));
  }
  const int64_t threshold = secure.threshold != 0 ? secure.threshold : least;
  if (options.round.goal != 0 && options.round.goal < threshold) {
    return Bad("round.goal", absl::StrCat(options.round.goal),
               absl::StrCat("a sum is unmasked by t = ", threshold, " sites (2t > ", sites, " + ",
                            colluders, "), so no round could end with fewer"));
  }
  return absl::OkStatus();
}

absl::Status CheckSecure(const RunOptions& options, const StrategyTraits& traits) {
  const SecureOptions& secure = options.secure;
  DS_RETURN_IF_ERROR(OneOf("secure.mode", secure.mode, {"off", "on", "strict"}));
  if (secure.mode == "off") return absl::OkStatus();
  if (traits.individual_updates) {
    return Bad("strategy.name", traits.name,
               absl::StrCat("it needs each site's update, which secure.mode '", secure.mode,
                            "' hides from the aggregator: choose one of them; what remains against "
                            "hostile sites is update.clip_norm, which each site applies itself"));
  }
  if (traits.asynchronous) {
    return Bad("strategy.name", traits.name,
               absl::StrCat("its updates are for several versions and come one by one, where "
                            "secure.mode '",
                            secure.mode,
                            "' sums those of one round: set secure.mode: off, or take fedavg"));
  }
  DS_RETURN_IF_ERROR(AtLeast("secure.rounds_a_setup", secure.rounds_a_setup, 1));
  if (secure.rounds_a_setup > kMostRoundsASetup) {
    return Bad("secure.rounds_a_setup", absl::StrCat(secure.rounds_a_setup),
               absl::StrCat("it must be at most ", kMostRoundsASetup));
  }
  DS_RETURN_IF_ERROR(AtLeast("secure.colluders", secure.colluders, 0));
  DS_RETURN_IF_ERROR(AtLeast("secure.threshold", secure.threshold, 0));
  DS_RETURN_IF_ERROR(AtLeast("secure.least_difference", secure.least_difference, 0));
  return CheckThreshold(options);
}

// Privacy beside strategies and updates; privacy itself in CheckPrivacy.
absl::Status CheckPrivateUpdates(const RunOptions& options, const StrategyTraits& traits) {
  const UpdateOptions& update = options.update;
  const std::string mechanism = absl::StrCat("privacy.mechanism '", options.privacy.mechanism, "'");
  if (!(update.clip_norm > 0)) {
    return Bad("update.clip_norm", "0",
               absl::StrCat(mechanism,
                            " hides a site behind noise as large as its update may be: "
                            "set the L2 norm that updates are clipped to"));
  }
  if (update.bits < 2) {
    return Bad("update.bits", "1",
               absl::StrCat(mechanism, " needs a grid that holds zero: take at least 2 bits"));
  }
  if (update.error_feedback) {
    return Bad("update.error_feedback", "true",
               absl::StrCat("it sends later what clipping and rounding kept back, beyond what ",
                            mechanism, " accounts for: set it to false"));
  }
  if (update.weighting == "samples" && !update.declare_samples) {
    return Bad("update.weighting", "'samples'",
               absl::StrCat("the weights' sum is published without noise, so under ", mechanism,
                            " sites must have declared their counts: set update.declare_samples, "
                            "or update.weighting: equal"));
  }
  if (traits.control_variates) {
    return Bad("strategy.name", traits.name,
               absl::StrCat("its control variates are a second upload that is not clipped, so ",
                            mechanism, " does not cover them: take fedavg or fedprox"));
  }
  if (traits.individual_updates || traits.asynchronous) {
    return Bad("strategy.name", traits.name,
               absl::StrCat(mechanism,
                            " is calibrated to a plain sum of one round's updates: take "
                            "a strategy that adds"));
  }
  return absl::OkStatus();
}

absl::Status CheckPrivacy(const RunOptions& options, const StrategyTraits& traits) {
  const PrivacyOptions& privacy = options.privacy;
  DS_RETURN_IF_ERROR(OneOf("privacy.mechanism", privacy.mechanism,
                           {"none", "discrete_gaussian", "skellam", "central"}));
  DS_RETURN_IF_ERROR(Within("privacy.epsilon_budget", privacy.epsilon_budget, 0, false, HUGE_VAL));
  if (privacy.mechanism == "none") {
    if (privacy.epsilon_budget > 0) {
      return Bad("privacy.epsilon_budget", absl::StrCat(privacy.epsilon_budget),
                 "without a privacy.mechanism nothing is spent of it: choose one, or set it to 0");
    }
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(Within("privacy.noise_multiplier", privacy.noise_multiplier, 0, true, 1e6));
  if (!(privacy.delta > 0 && privacy.delta < 1))
    return Bad("privacy.delta", absl::StrCat(privacy.delta), "it must be above 0 and below 1");
  if (privacy.mechanism != "central" && options.secure.mode == "off") {
    return Bad(
        "privacy.mechanism", absl::StrCat("'", privacy.mechanism, "'"),
        "its noise is enough for the sum of all sites, and without secure aggregation the "
        "aggregator sees each update with its share alone: set secure.mode: on, or trust the "
        "aggregator and take 'central'");
  }
  if (privacy.mechanism != "central" && options.round.minimum <= options.secure.colluders) {
    return Bad("round.minimum", absl::StrCat(options.round.minimum),
               absl::StrCat("secure.colluders = ", options.secure.colluders,
                            " sites know their own noise, so it must be above that"));
  }
  // A site answers for any survivors of at least t, whatever the aggregator says of the round.
  if (privacy.mechanism != "central" && options.secure.threshold < options.round.minimum) {
    return Bad(
        "secure.threshold", absl::StrCat(options.secure.threshold),
        absl::StrCat(
            "each site's share of the noise is that of round.minimum = ", options.round.minimum,
            " updates, so no sum of fewer may be unmasked: set it to that or more"));
  }
  return CheckPrivateUpdates(options, traits);
}

}  // namespace

absl::Status CheckRunOptions(const RunOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Strategy> strategy, MakeStrategy(options.strategy));
  DS_RETURN_IF_ERROR(CheckRound(options.round));
  DS_RETURN_IF_ERROR(CheckStrategy(options, *strategy));
  DS_RETURN_IF_ERROR(CheckUpdate(options.update));
  DS_RETURN_IF_ERROR(CheckSecure(options, strategy->traits()));
  return CheckPrivacy(options, strategy->traits());
}

}  // namespace ds::federated
