// Agents that add their share of the noise themselves, under masks, in a whole run.
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/agent/federation.h"

namespace ds::federated {
namespace {

RunOptions Private(double noise_multiplier) {
  RunOptions options = Federation::FourRounds();
  options.round.minimum = options.round.wait_for = 4;
  options.secure.mode = "on";
  options.secure.threshold = options.round.minimum;
  options.update.bits = 8;
  options.update.clip_norm = 1;
  options.update.error_feedback = false;
  options.privacy.mechanism = "discrete_gaussian";
  options.privacy.noise_multiplier = noise_multiplier;
  return options;
}

std::string EndOf(double noise_multiplier) {
  Federation federation(4, Private(noise_multiplier));
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  std::string digest;
  for (const auto& report : federation.Run(*aggregator, nullptr)) {
    EXPECT_TRUE(report.ok()) << report.status();
    if (!report.ok()) return "";
    EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
    if (digest.empty()) digest = report->model_digest;
    EXPECT_EQ(report->model_digest, digest);
  }
  return digest;
}

TEST(PrivateAgentsTest, ARunWithTheSitesOwnNoiseEndsAlikeEverywhere) {
  const std::string once = EndOf(0.5);
  // Nobody can foresee the noise: the same run again ends elsewhere.
  EXPECT_NE(EndOf(0.5), once);
}

}  // namespace
}  // namespace ds::federated
