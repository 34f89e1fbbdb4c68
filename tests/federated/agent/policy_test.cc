#include "federated/agent/policy.h"

#include <functional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

RunOffer SoundOffer() {
  RunOffer offer;
  offer.run = "run-1";
  offer.model = std::string(64, 'a');
  return offer;
}

RunOffer PrivateOffer() {
  RunOffer offer = SoundOffer();
  offer.options.privacy.mechanism = "discrete_gaussian";
  offer.options.privacy.epsilon_budget = 3;
  offer.options.update.clip_norm = 1;
  offer.options.update.error_feedback = false;
  offer.options.update.weighting = "equal";
  offer.options.update.declare_samples = false;
  offer.options.secure.mode = "on";
  offer.options.round.minimum = offer.options.round.wait_for = 3;
  offer.options.secure.threshold = 3;
  return offer;
}

TEST(PolicyTest, TheDefaultTakesASoundOffer) {
  EXPECT_TRUE(CheckOffer({}, SoundOffer()).ok());
  EXPECT_TRUE(CheckOffer({}, PrivateOffer()).ok()) << CheckOffer({}, PrivateOffer());
}

struct Refusal {
  std::string name;
  std::function<void(AgentPolicy&, RunOffer&)> change;
  std::string said;
};

class RefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RefusalTest, IsNamed) {
  for (const bool is_private : {false, true}) {
    RunOffer offer = is_private ? PrivateOffer() : SoundOffer();
    AgentPolicy policy;
    GetParam().change(policy, offer);
    const absl::Status status = CheckOffer(policy, offer);
    EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().said));
    EXPECT_THAT(std::string(status.message()), HasSubstr("mend:"));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Policies, RefusalTest,
    ::testing::Values(Refusal{"Strategy",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.strategies = {"fedavg"};
                                o.options.strategy.name = "fedprox";
                              },
                              "fedprox"},
                      Refusal{"Rounds",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.most_rounds = 5;
                                o.options.round.rounds = 6;
                              },
                              "at most 5"},
                      Refusal{"Secure",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.require_secure = true;
                                o.options.secure.mode = "off";
                                o.options.privacy = {};
                              },
                              "masked"},
                      Refusal{"Strict",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.secure.strict = true;
                                o.options.secure.mode = "on";
                                o.options.round.minimum = o.options.round.wait_for = 3;
                              },
                              "'strict'"},
                      Refusal{"Noise",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.require_noise = true;
                                o.options.privacy = {};
                              },
                              "noise itself"},
                      Refusal{"Multiplier",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.least_noise_multiplier = 2;
                                o.options.privacy.noise_multiplier = 1.5;
                              },
                              "at least 2"},
                      Refusal{"Epsilon", [](AgentPolicy& p, RunOffer& o) { p.most_epsilon = 1; },
                              "1"},
                      Refusal{"Delta",
                              [](AgentPolicy& p, RunOffer& o) {
                                p.most_epsilon = 8;
                                p.most_delta = 1e-6;
                              },
                              "privacy"}),
    [](const auto& info) { return info.param.name; });

TEST(PolicyTest, SampleCountsStayWhereThePolicySaysSo) {
  AgentPolicy policy;
  policy.declare_samples = false;
  RunOffer offer = SoundOffer();
  EXPECT_TRUE(absl::IsPermissionDenied(CheckOffer(policy, offer)));
  EXPECT_TRUE(CheckOffer(policy, PrivateOffer()).ok());
}

TEST(PolicyTest, RunsWithoutAUsableNameAreRefused) {
  for (const std::string run : {"", "../x", "a b", "a/b", std::string(65, 'a').c_str()}) {
    RunOffer offer = SoundOffer();
    offer.run = run;
    EXPECT_TRUE(absl::IsInvalidArgument(CheckOffer({}, offer))) << run;
  }
  RunOffer offer = SoundOffer();
  offer.model = "../../model.onnx";
  EXPECT_TRUE(absl::IsInvalidArgument(CheckOffer({}, offer)));
  offer = SoundOffer();
  offer.options.round.rounds = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(CheckOffer({}, offer)));
}

}  // namespace
}  // namespace ds::federated
