// Whole runs of agents against a small aggregator in memory: what they end at, whatever happens to
// them and to their links on the way.
#include "federated/agent/run_agent.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/agent/federation.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

void ExpectFinished(const std::vector<absl::StatusOr<AgentReport>>& reports,
                    const std::string& digest) {
  for (const absl::StatusOr<AgentReport>& report : reports) {
    ASSERT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->end, EndState::kFinished);
    EXPECT_EQ(report->model_digest, digest);
  }
}

// The digest that a run without any trouble ends at.
std::string SoundDigest(const RunOptions& options) {
  Federation federation(3, options);
  FakeAggregator aggregator(federation.ForFake());
  const auto reports = federation.Run(aggregator, nullptr);
  ExpectFinished(reports, aggregator.digest());
  return aggregator.digest();
}

void ExpectEachCountedOnce(const FakeAggregator& aggregator, int64_t rounds) {
  EXPECT_EQ(aggregator.conflicts(), 0);
  for (const auto& [site, count] : aggregator.counted()) EXPECT_EQ(count, rounds) << site;
}

TEST(RunAgentTest, WhatASiteKeepsMayLieInFiles) {
  const std::string sound = SoundDigest(Federation::FourRounds());
  Federation federation(3);
  federation.sites[0].vault = nullptr;
  federation.sites[0].files = nullptr;
  FakeAggregator aggregator(federation.ForFake());
  CrashPoint crash;
  crash.at = 10;
  ExpectFinished(federation.Run(aggregator, &crash), sound);
  EXPECT_TRUE(crash.dead);
  ExpectEachCountedOnce(aggregator, 4);
}

TEST(RunAgentTest, SitesLearnTheMeanOfTheirOptima) {
  RunOptions options = Federation::FourRounds();
  options.round.rounds = 30;
  options.update.bits = 8;
  options.update.weighting = "equal";
  Federation federation(3, options);
  FakeAggregator aggregator(federation.ForFake());
  const auto reports = federation.Run(aggregator, nullptr);
  ExpectFinished(reports, aggregator.digest());
  for (const auto& report : reports) {
    EXPECT_EQ(report->trained, 30);
    EXPECT_EQ(report->counted, 30);
    EXPECT_EQ(report->version, 30);
  }
  const std::vector<float> weights = aggregator.weights();
  for (size_t i = 0; i < weights.size(); ++i) {
    float mean = 0;
    for (const SiteHome& site : federation.sites)
      mean += VirtualOptimum(federation.problem, site.site)[i] / 3;
    EXPECT_NEAR(weights[i], mean, 0.02) << i;
  }
}

class KilledAgentTest : public ::testing::TestWithParam<std::string> {};

TEST_P(KilledAgentTest, KilledAtEachStepItEndsAtTheSameModel) {
  RunOptions options = Federation::FourRounds();
  options.strategy.name = GetParam();
  const std::string sound = SoundDigest(options);
  int steps = 0;
  for (int at = 1;; ++at) {
    for (const bool with_effect : {false, true}) {
      SCOPED_TRACE(absl::StrCat("step ", at, with_effect ? ", with its effect" : ""));
      Federation federation(3, options);
      // The first steps fetch the model's file.
      if (at <= 8) federation.sites[0].files = nullptr;
      FakeAggregator aggregator(federation.ForFake());
      CrashPoint crash;
      crash.at = at;
      crash.with_effect = with_effect;
      ExpectFinished(federation.Run(aggregator, &crash), sound);
      ExpectEachCountedOnce(aggregator, options.round.rounds);
      if (!crash.dead) steps = at;
    }
    if (steps > 0 || ::testing::Test::HasFailure()) break;
  }
  EXPECT_GE(steps, 20) << "the process has more steps than that";
}

INSTANTIATE_TEST_SUITE_P(Strategies, KilledAgentTest, ::testing::Values("fedavg", "scaffold"),
                         [](const auto& info) { return info.param; });

// As training is that draws anew each time.
class NoisyTrainer final : public LocalTrainer {
 public:
  NoisyTrainer(const SiteHome& home, std::atomic<int>& trainings)
      : trainer_(MakeVirtualTrainer(home.problem, home.site)), trainings_(trainings) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    auto update = trainer_->Train(round, weights, control, own_control);
    for (float& value : update->delta) value *= 1 + 0.1f * static_cast<float>(++trainings_ % 7);
    return update;
  }

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
  std::atomic<int>& trainings_;
};

TEST(RunAgentTest, AnUpdateThatWasGivenIsNeverReplacedByAnother) {
  for (int at = 1; at <= 25; ++at) {
    SCOPED_TRACE(absl::StrCat("step ", at));
    Federation federation(1);
    FakeAggregator aggregator(federation.ForFake());
    std::atomic<int> trainings = 0;
    CrashPoint crash, never;
    crash.at = at;
    crash.with_effect = true;
    {
      NoisyTrainer trainer(federation.sites[0], trainings);
      LiveOnce(federation.sites[0], aggregator, crash, &trainer).status().IgnoreError();
    }
    if (crash.dead) {
      NoisyTrainer trainer(federation.sites[0], trainings);
      const auto report = LiveOnce(federation.sites[0], aggregator, never, &trainer);
      ASSERT_TRUE(report.ok()) << report.status();
    }
    // An update of each round came, and no other one.
    EXPECT_EQ(aggregator.updates(), 4);
    ExpectEachCountedOnce(aggregator, 4);
  }
}

TEST(RunAgentTest, AnAbandonedRoundLeavesResidualAndControlAsTheyWere) {
  for (const std::string strategy : {"fedavg", "scaffold"}) {
    SCOPED_TRACE(strategy);
    RunOptions options = Federation::FourRounds();
    options.strategy.name = strategy;
    Federation federation(3, options);
    FakeAggregator aggregator(federation.ForFake());
    HeldTrainer held(federation.problem, "site-2");
    std::vector<absl::StatusOr<AgentReport>> reports(3, absl::UnknownError("none"));
    std::vector<std::thread> threads;
    CrashPoint never;
    for (size_t i = 0; i < 3; ++i)
      threads.emplace_back([&, i] {
        reports[i] = LiveOnce(federation.sites[i], aggregator, never, i == 2 ? &held : nullptr);
      });
    while (aggregator.committed() < 2 || !held.training) absl::SleepFor(absl::Milliseconds(1));
    aggregator.Abandon();
    while (!held.gave_up) absl::SleepFor(absl::Milliseconds(1));
    held.go = true;
    for (std::thread& thread : threads) thread.join();
    ExpectFinished(reports, SoundDigest(options));
    EXPECT_EQ(reports[0]->trained, 5);
    EXPECT_EQ(reports[0]->counted, 4);
  }
}

TEST(RunAgentTest, ARoundThatWentWithoutTheUpdateDoesNotCountIt) {
  Federation federation(3);
  FakeAggregator aggregator(federation.ForFake());
  std::vector<absl::StatusOr<AgentReport>> reports(3, absl::UnknownError("none"));
  std::vector<std::thread> threads;
  CrashPoint never, crash;
  crash.in = "commit";
  for (size_t i = 0; i < 3; ++i)
    threads.emplace_back(
        [&, i] { reports[i] = LiveOnce(federation.sites[i], aggregator, i == 0 ? crash : never); });
  while (aggregator.committed() < 2 || !crash.dead) absl::SleepFor(absl::Milliseconds(1));
  threads[0].join();
  aggregator.CloseRound();
  reports[0] = LiveOnce(federation.sites[0], aggregator, never);
  threads[1].join();
  threads[2].join();
  ExpectFinished(reports, aggregator.digest());
  EXPECT_EQ(reports[0]->counted, 3);
  EXPECT_EQ(reports[1]->counted, 4);
}

TEST(RunAgentTest, ABadLinkCountsEachUpdateOnce) {
  const std::string sound = SoundDigest(Federation::FourRounds());
  for (uint64_t seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Federation federation(3);
    FakeAggregator aggregator(federation.ForFake());
    for (size_t i = 0; i < federation.sites.size(); ++i)
      federation.sites[i].faults = {.seed = 10 * seed + i,
                                    .lose_request = 0.1,
                                    .lose_reply = 0.1,
                                    .duplicate = 0.3,
                                    .replay = 0.3,
                                    .cut_upload = 0.5,
                                    .delay = 0.2,
                                    .longest_delay = absl::Milliseconds(2)};
    ExpectFinished(federation.Run(aggregator, nullptr), sound);
    ExpectEachCountedOnce(aggregator, 4);
  }
}

TEST(RunAgentTest, ALyingAggregatorIsLeft) {
  const std::string other(64, 'a');
  const std::vector<std::pair<std::string, std::function<void(Situation&)>>> lies = {
      {"another model at the start",
       [&](Situation& s) {
         if (s.version == 0) s.model_digest = other;
       }},
      {"another model after a sum",
       [&](Situation& s) {
         for (PublishedRef& ref : s.recent) ref.model_digest = other;
       }},
      {"another model now",
       [&](Situation& s) {
         if (s.version == 2) s.model_digest = other;
       }},
      {"the run's past",
       [&](Situation& s) {
         if (s.version == 2) s.version = 1;
       }},
      {"an old sum again", [&](Situation& s) {
         if (s.version == 2) s.recent[1].blob = s.recent[0].blob;
       }}};
  for (const auto& [name, lie] : lies) {
    SCOPED_TRACE(name);
    Federation federation(1);
    FakeAggregator::Options fake = federation.ForFake();
    fake.tamper = [lie = lie](const std::string&, Situation& s) { lie(s); };
    FakeAggregator aggregator(fake);
    const auto report = federation.Run(aggregator, nullptr)[0];
    EXPECT_TRUE(absl::IsPermissionDenied(report.status())) << report.status();
    EXPECT_THAT(std::string(report.status().message()), HasSubstr("aggregator"));
    EXPECT_LT(aggregator.version(), 4);
  }
}

TEST(RunAgentTest, ALateSiteTakesASnapshotAndTheSumsSince) {
  Federation federation(2);
  federation.offer.options.round.rounds = 6;
  FakeAggregator::Options fake = federation.ForFake();
  fake.recent = 1;
  fake.snapshot_every = 2;
  fake.snapshot_dir = federation.folder->path();
  FakeAggregator aggregator(fake);
  // One site goes through the run; the other comes back with nothing but its name.
  std::thread first([&] {
    CrashPoint never;
    const auto report = LiveOnce(federation.sites[1], aggregator, never);
    EXPECT_TRUE(report.ok()) << report.status();
    EXPECT_EQ(report->model_digest, aggregator.digest());
  });
  std::vector<std::string> said;
  absl::StatusOr<AgentReport> report = absl::UnknownError("none");
  for (int process = 0; process < 100; ++process) {
    SiteHome home = federation.sites[0];
    home.vault = std::make_shared<TestVault>();
    home.options.agent.say = [&](absl::string_view line) { said.emplace_back(line); };
    CrashPoint crash;
    crash.at = 17;  // it gets further than one round, not to the end
    crash.with_effect = true;
    report = LiveOnce(home, aggregator, crash);
    if (!crash.dead) break;
  }
  first.join();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, EndState::kFinished);
  EXPECT_THAT(said, ::testing::Contains(HasSubstr("snapshot of version")));
  EXPECT_EQ(aggregator.conflicts(), 0);
}

TEST(RunAgentTest, ARoundThatIsOverInterruptsItsTraining) {
  Federation federation(1);
  FakeAggregator aggregator(federation.ForFake());
  HeldTrainer trainer(federation.problem, "site-0");
  std::thread abandons([&] {
    while (!trainer.training) absl::SleepFor(absl::Milliseconds(1));
    aggregator.Abandon();
    while (!trainer.gave_up) absl::SleepFor(absl::Milliseconds(1));
    trainer.go = true;
  });
  CrashPoint never;
  const auto report = LiveOnce(federation.sites[0], aggregator, never, &trainer);
  abandons.join();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, EndState::kFinished);
  EXPECT_EQ(report->trained, 4);
  EXPECT_EQ(aggregator.round(), 5) << "the first one was abandoned";
}

TEST(RunAgentTest, AStopInterruptsTrainingAndEnds) {
  Federation federation(1);
  FakeAggregator aggregator(federation.ForFake());
  HeldTrainer trainer(federation.problem, "site-0");
  CrashPoint stop;
  std::thread stops([&] {
    while (!trainer.training) absl::SleepFor(absl::Milliseconds(1));
    stop.dead = true;
  });
  const auto report = LiveOnce(federation.sites[0], aggregator, stop, &trainer);
  stops.join();
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, EndState::kRunning);
}

class FailingTrainer final : public LocalTrainer {
 public:
  absl::StatusOr<LocalModel> Open(const RunOffer&, const std::string&) override {
    return VirtualModel({.parameters = 40});
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t, absl::Span<const float> weights,
                                      absl::Span<const float>, absl::Span<const float>) override {
    ++trainings;
    if (nan) {
      TrainedUpdate update;
      update.delta.assign(weights.size(), std::numeric_limits<float>::quiet_NaN());
      update.metrics.samples = 1;
      return update;
    }
    return absl::InvalidArgumentError("the loss is NaN");
  }

  bool nan = false;
  std::atomic<int> trainings = 0;
};

TEST(RunAgentTest, TrainingThatFailsAgainAndAgainEndsTheAgent) {
  for (const bool nan : {false, true}) {
    Federation federation(1);
    FakeAggregator aggregator(federation.ForFake());
    FailingTrainer trainer;
    trainer.nan = nan;
    std::atomic<bool> over = false;
    std::thread abandons([&] {
      for (int round = 0; !over; absl::SleepFor(absl::Milliseconds(1)))
        if (trainer.trainings > round) {
          ++round;
          absl::SleepFor(absl::Milliseconds(10));  // the failure is past, not the round's end
          aggregator.Abandon();
        }
    });
    CrashPoint never;
    const auto report = LiveOnce(federation.sites[0], aggregator, never, &trainer);
    over = true;
    abandons.join();
    EXPECT_TRUE(absl::IsInternal(report.status())) << report.status();
    EXPECT_THAT(std::string(report.status().message()), HasSubstr("3 rounds in a row"));
    EXPECT_THAT(std::string(report.status().message()), HasSubstr("NaN"));
    EXPECT_EQ(aggregator.uploaded_bytes(), 0);
  }
}

TEST(RunAgentTest, AnAggregatorThatNeverAnswersIsGivenUp) {
  Federation federation(1);
  FakeAggregator aggregator(federation.ForFake());
  SiteHome& home = federation.sites[0];
  home.faults.lose_request = 1;
  home.options.give_up_after = absl::Milliseconds(100);
  CrashPoint never;
  const auto report = LiveOnce(home, aggregator, never);
  EXPECT_TRUE(absl::IsDeadlineExceeded(report.status())) << report.status();
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("ds_agent check"));
}

TEST(RunAgentTest, APolicyThatSaysNoJoinsNothing) {
  Federation federation(1);
  FakeAggregator aggregator(federation.ForFake());
  federation.sites[0].options.agent.policy.require_secure = true;
  const auto report = federation.Run(aggregator, nullptr)[0];
  EXPECT_TRUE(absl::IsPermissionDenied(report.status())) << report.status();
  EXPECT_EQ(aggregator.digest(), "") << "nobody has joined";
}

}  // namespace
}  // namespace ds::federated
