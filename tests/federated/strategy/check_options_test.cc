// What CheckRunOptions lets pass, and that each refusal names the field and the reason.
#include "federated/strategy/check_options.h"

#include <functional>

#include "federated/options/options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

RunOptions Secure() {
  RunOptions options;
  options.round.wait_for = 4;
  options.round.minimum = 3;
  options.secure.mode = "on";
  return options;
}

RunOptions Private() {
  RunOptions options = Secure();
  options.privacy.mechanism = "discrete_gaussian";
  options.secure.threshold = options.round.minimum;
  options.update.clip_norm = 1;
  options.update.error_feedback = false;
  return options;
}

TEST(RunOptionsTest, SoundOnesPass) {
  EXPECT_TRUE(CheckRunOptions({}).ok()) << CheckRunOptions({});
  EXPECT_TRUE(CheckRunOptions(Secure()).ok()) << CheckRunOptions(Secure());
  EXPECT_TRUE(CheckRunOptions(Private()).ok()) << CheckRunOptions(Private());
  RunOptions central = Private();
  central.secure.mode = "off";
  central.privacy.mechanism = "central";
  EXPECT_TRUE(CheckRunOptions(central).ok()) << CheckRunOptions(central);
  RunOptions krum;
  krum.strategy.name = "krum";
  krum.round.minimum = krum.round.wait_for = 5;
  EXPECT_TRUE(CheckRunOptions(krum).ok()) << CheckRunOptions(krum);
  for (const char* name : {"fedavg", "fedprox", "scaffold", "fedadam", "fedyogi", "fedavgm",
                           "trimmed_mean", "median", "fedbuff"}) {
    RunOptions options;
    options.strategy.name = name;
    EXPECT_TRUE(CheckRunOptions(options).ok()) << CheckRunOptions(options);
  }
}

struct Refusal {
  const char* name;
  RunOptions start;
  std::function<void(RunOptions&)> change;
  const char* field;
  const char* reason;
};

std::vector<Refusal> Refusals() {
  const RunOptions open = {}, secure = Secure(), hidden = Private();
  return {
      {"rounds", open, [](RunOptions& o) { o.round.rounds = 0; }, "round.rounds is 0",
       "at least 1"},
      {"minimum", open, [](RunOptions& o) { o.round.minimum = 0; }, "round.minimum", "at least 1"},
      {"wait for", open, [](RunOptions& o) { o.round.minimum = 3; }, "round.wait_for is 1",
       "round.minimum, 3"},
      {"goal", secure, [](RunOptions& o) { o.round.goal = 2; }, "round.goal is 2",
       "below round.minimum, 3"},
      {"spare", open, [](RunOptions& o) { o.round.spare = 1; }, "round.spare", "none is spare"},
      {"sample", open, [](RunOptions& o) { o.round.sample = 0; }, "round.sample", "above 0"},
      {"sample NaN", open, [](RunOptions& o) { o.round.sample = 0.0 / 0.0; }, "round.sample",
       "above 0"},
      {"deadline", open, [](RunOptions& o) { o.round.deadline_s = 0; }, "round.deadline_s",
       "above 0"},
      {"unmask deadline", open, [](RunOptions& o) { o.round.unmask_deadline_s = -1; },
       "round.unmask_deadline_s", "above 0"},
      {"abandoned", open, [](RunOptions& o) { o.round.abandoned_in_a_row = 0; },
       "round.abandoned_in_a_row", "at least 1"},
      {"strategy", open, [](RunOptions& o) { o.strategy.name = "fedadm"; }, "'fedadm'",
       "did you mean 'fedadam'"},
      {"rate", open, [](RunOptions& o) { o.strategy.server_learning_rate = 0; },
       "strategy.server_learning_rate", "above 0"},
      {"momentum", open, [](RunOptions& o) { o.strategy.momentum = 1; }, "strategy.momentum",
       "at most 0.9999"},
      {"trim", open, [](RunOptions& o) { o.strategy.trim = 0.5; }, "strategy.trim", "below 0.5"},
      {"buffer", open, [](RunOptions& o) { o.strategy.buffer = 0; }, "strategy.buffer",
       "at least 1"},
      {"krum's minimum", open, [](RunOptions& o) { o.strategy.name = "krum"; },
       "round.minimum is 1", "2 * 1 + 3 = 5"},
      {"fedbuff's sample", open,
       [](RunOptions& o) {
         o.strategy.name = "fedbuff";
         o.round.sample = 0.5;
       },
       "round.sample", "no rounds"},
      {"bits", open, [](RunOptions& o) { o.update.bits = 17; }, "update.bits is 17", "1 to 16"},
      {"weighting", open, [](RunOptions& o) { o.update.weighting = "size"; }, "update.weighting",
       "samples, equal"},
      {"reference", open, [](RunOptions& o) { o.update.declare_samples = false; },
       "update.samples_reference", "a count that weighs 1"},
      {"clip", open, [](RunOptions& o) { o.update.clip_norm = -1; }, "update.clip_norm",
       "at least 0"},
      {"mode", open, [](RunOptions& o) { o.secure.mode = "yes"; }, "secure.mode is 'yes'",
       "off, on, strict"},
      {"krum and secure", secure,
       [](RunOptions& o) {
         o.strategy.name = "krum";
         o.round.minimum = o.round.wait_for = 5;
       },
       "strategy.name is krum", "needs each site's update, which secure.mode 'on' hides"},
      {"median and secure", secure, [](RunOptions& o) { o.strategy.name = "median"; },
       "strategy.name is median", "hides from the aggregator"},
      {"fedbuff and secure", secure, [](RunOptions& o) { o.strategy.name = "fedbuff"; },
       "strategy.name is fedbuff", "several versions"},
      {"colluders", secure, [](RunOptions& o) { o.secure.colluders = 4; }, "secure.colluders is 4",
       "2t > N + c = 4 + 4, so t >= 5"},
      {"threshold too low", secure, [](RunOptions& o) { o.secure.threshold = 2; },
       "secure.threshold is 2", "3 <= t <= 4"},
      {"threshold too high", secure, [](RunOptions& o) { o.secure.threshold = 5; },
       "secure.threshold is 5", "3 <= t <= 4"},
      {"goal below the threshold", secure,
       [](RunOptions& o) {
         o.round.wait_for = 8;
         o.round.goal = 4;
       },
       "round.goal is 4", "t = 5"},
      {"set-up", secure, [](RunOptions& o) { o.secure.rounds_a_setup = 0; },
       "secure.rounds_a_setup", "at least 1"},
      {"mechanism", open, [](RunOptions& o) { o.privacy.mechanism = "laplace"; },
       "privacy.mechanism", "skellam"},
      {"budget alone", open, [](RunOptions& o) { o.privacy.epsilon_budget = 1; },
       "privacy.epsilon_budget", "nothing is spent"},
      {"no clip", hidden, [](RunOptions& o) { o.update.clip_norm = 0; }, "update.clip_norm",
       "set the L2 norm"},
      {"one bit", hidden, [](RunOptions& o) { o.update.bits = 1; }, "update.bits is 1",
       "holds zero"},
      {"error feedback and privacy", hidden, [](RunOptions& o) { o.update.error_feedback = true; },
       "update.error_feedback", "set it to false"},
      {"scaffold and privacy", hidden, [](RunOptions& o) { o.strategy.name = "scaffold"; },
       "strategy.name is scaffold", "second upload"},
      {"hidden weights", hidden,
       [](RunOptions& o) {
         o.update.declare_samples = false;
         o.update.samples_reference = 100;
       },
       "update.weighting", "without noise"},
      {"median and central noise", hidden,
       [](RunOptions& o) {
         o.secure.mode = "off";
         o.privacy.mechanism = "central";
         o.strategy.name = "median";
       },
       "strategy.name is median", "a plain sum"},
      {"noise on the sites in the open", hidden, [](RunOptions& o) { o.secure.mode = "off"; },
       "privacy.mechanism is 'discrete_gaussian'", "set secure.mode: on"},
      {"noise that colluders know", hidden, [](RunOptions& o) { o.round.minimum = 1; },
       "round.minimum is 1", "must be above that"},
      {"sums with too little noise", hidden, [](RunOptions& o) { o.secure.threshold = 0; },
       "secure.threshold is 0", "round.minimum = 3"},
      {"delta", hidden, [](RunOptions& o) { o.privacy.delta = 0; }, "privacy.delta", "above 0"},
      {"noise", hidden, [](RunOptions& o) { o.privacy.noise_multiplier = 0; },
       "privacy.noise_multiplier", "above 0"},
  };
}

TEST(RunOptionsTest, RefusalsNameTheFieldAndTheReason) {
  for (const Refusal& refusal : Refusals()) {
    ASSERT_TRUE(CheckRunOptions(refusal.start).ok()) << refusal.name;
    RunOptions options = refusal.start;
    refusal.change(options);
    const absl::Status status = CheckRunOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << refusal.name;
    EXPECT_THAT(status.message(), HasSubstr(refusal.field)) << refusal.name;
    EXPECT_THAT(status.message(), HasSubstr(refusal.reason)) << refusal.name;
  }
}

}  // namespace
}  // namespace ds::federated
