// Agents and the aggregator as they are, in one process, under secure aggregation: what a killed
// site does with its masks, and whom a site refuses.
#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/agent/federation.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

RunOptions Secure(const std::string& mode) {
  RunOptions options = Federation::FourRounds();
  options.round.rounds = 3;
  options.round.minimum = 3;
  options.secure.mode = mode;
  options.secure.rounds_a_setup = 2;  // so that there is a second set-up
  return options;
}

// The digest at which all sites have ended.
std::string EndOf(Federation& federation, CrashPoint* crash) {
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  const auto reports = federation.Run(*aggregator, crash);
  for (size_t i = 0; i < reports.size(); ++i) {
    EXPECT_TRUE(reports[i].ok()) << reports[i].status();
    if (!reports[i].ok()) return "";
    EXPECT_EQ(reports[i]->end, EndState::kFinished) << reports[i]->reason;
    EXPECT_EQ(reports[i]->model_digest, reports[1]->model_digest);
  }
  return reports[1]->model_digest;
}

class SecureAgentsTest : public ::testing::TestWithParam<std::string> {};

TEST_P(SecureAgentsTest, KilledAtEachStepASiteEndsAtTheOpenSum) {
  // No round begins without the site, which may be away between joining and watching.
  RunOptions options = Secure("off");
  options.round.minimum = 4;
  Federation open(4, options);
  options.secure.mode = GetParam();
  const std::string sound = EndOf(open, nullptr);
  bool through = false;
  int at = 1;
  for (; !through && !HasFailure(); ++at) {
    for (const bool with_effect : {false, true}) {
      SCOPED_TRACE(absl::StrCat("step ", at, with_effect ? ", with its effect" : ""));
      Federation federation(4, options);
      CrashPoint crash;
      crash.at = at;
      crash.with_effect = with_effect;
      EXPECT_EQ(EndOf(federation, &crash), sound);
      through = !crash.dead;
    }
  }
  EXPECT_GE(at, 40) << "the process has more steps than that";
}

INSTANTIATE_TEST_SUITE_P(Modes, SecureAgentsTest, ::testing::Values("on", "strict"),
                         [](const auto& info) { return info.param; });

// Sites 1 to 3 on threads of their own, whose training waits for Go.
class Others {
 public:
  Others(Federation& federation, Aggregator& aggregator) {
    for (size_t i = 1; i < federation.sites.size(); ++i) {
      const SiteHome& home = federation.sites[i];
      trainers_.push_back(std::make_unique<HeldTrainer>(home.problem, home.site));
      threads_.emplace_back([&home, &aggregator, trainer = trainers_.back().get()] {
        CrashPoint never;
        const auto report = LiveOnce(home, aggregator, never, trainer);
        ASSERT_TRUE(report.ok()) << report.status();
        EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
      });
    }
  }
  void Go() {
    for (const auto& trainer : trainers_) trainer->go = true;
  }
  ~Others() {
    Go();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::vector<std::unique_ptr<HeldTrainer>> trainers_;
  std::vector<std::thread> threads_;
};

TEST(SecureAgentTest, ADiskThatWasPutBackEndsTheSite) {
  Federation federation(4, Secure("on"));
  const auto vault = std::make_shared<TestVault>();
  federation.sites[0].vault = vault;
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  Others others(federation, *aggregator);
  CrashPoint before;
  before.in = "put update/";
  LiveOnce(federation.sites[0], *aggregator, before).status().IgnoreError();
  ASSERT_TRUE(before.dead);
  const auto image = vault->Image();
  CrashPoint behind;
  behind.in = "commit";
  behind.with_effect = true;
  LiveOnce(federation.sites[0], *aggregator, behind).status().IgnoreError();
  ASSERT_TRUE(behind.dead);
  vault->PutBack(image);
  CrashPoint never;
  const auto report = LiveOnce(federation.sites[0], *aggregator, never);
  EXPECT_TRUE(absl::IsDataLoss(report.status())) << report.status();
  EXPECT_THAT(std::string(report.status().message()), HasSubstr("put back"));
}

TEST(SecureAgentTest, ASiteAnswersWhileItsTrainingHangs) {
  RunOptions options = Secure("on");
  options.round.rounds = 1;
  options.round.deadline_s = 0.5;
  Federation federation(4, options);
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  // One site commits and is gone: with the threshold of 3 the hanging one's answer is needed.
  std::vector<absl::StatusOr<AgentReport>> reports(4, absl::UnknownError("none"));
  HeldTrainer hangs(federation.problem, "site-0");
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      CrashPoint crash;
      if (i == 1) crash.in = "commit", crash.with_effect = true;
      reports[i] = LiveOnce(federation.sites[i], *aggregator, crash, i == 0 ? &hangs : nullptr);
    });
  for (std::thread& thread : threads) thread.join();
  for (const size_t i : {0, 2, 3}) {
    ASSERT_TRUE(reports[i].ok()) << reports[i].status();
    EXPECT_EQ(reports[i]->end, EndState::kFinished) << reports[i]->reason;
    EXPECT_EQ(reports[i]->counted, i == 0 ? 0 : 1);
  }
}

// Waits, before secrets of round 0 are dropped, for a training of round 1.
class WaitingVault final : public TestVault {
 public:
  explicit WaitingVault(const std::atomic<int64_t>& training) : training_(training) {}
  absl::Status Put(const std::string& name, absl::string_view value) override {
    // Keys are written when they are made, and when their shares have served; then they are
    // dropped.
    if (absl::StrContains(name, ".keys.0") && ++keys_ > 2) {
      const Deadline deadline = Deadline::In(absl::Seconds(20));
      while (training_ < 1 && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(1));
      if (training_ < 1) return absl::DataLossError("the round waits for the disk");
      dropped = true;
    }
    return TestVault::Put(name, value);
  }
  std::atomic<bool> dropped = false;

 private:
  const std::atomic<int64_t>& training_;
  std::atomic<int> keys_ = 0;
};

class NotingTrainer final : public LocalTrainer {
 public:
  NotingTrainer(const VirtualProblem& problem, const std::string& site)
      : trainer_(MakeVirtualTrainer(problem, site)) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    training = round;
    return trainer_->Train(round, weights, control, own_control);
  }
  std::atomic<int64_t> training = -1;

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
};

TEST(SecureAgentTest, ARoundDoesNotWaitUntilOldSecretsAreDropped) {
  RunOptions options = Secure("on");
  options.round.minimum = 4;
  Federation federation(4, options);
  NotingTrainer trainer(federation.problem, federation.sites[0].site);
  const auto vault = std::make_shared<WaitingVault>(trainer.training);
  federation.sites[0].vault = vault;
  const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
  Others others(federation, *aggregator);
  others.Go();
  CrashPoint never;
  const auto report = LiveOnce(federation.sites[0], *aggregator, never, &trainer);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
  EXPECT_TRUE(vault->dropped);
}

TEST(SecureAgentTest, FloorsOfTheSiteAreHeld) {
  const std::vector<std::pair<SecureFloors, std::string>> floors = {{{.sites = 5}, "5"},
                                                                    {{.threshold = 4}, "4"},
                                                                    {{.colluders = 3}, "3"},
                                                                    {{.strict = true}, "strict"}};
  for (const auto& [floor, said] : floors) {
    SCOPED_TRACE(said);
    RunOptions options = Secure("on");
    options.round.rounds = 1;
    options.round.unmask_deadline_s = 0.5;
    Federation federation(4, options);
    const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
    federation.sites[0].options.agent.policy.secure = floor;
    std::vector<std::thread> threads;
    CrashPoint stop;
    for (size_t i = 1; i < 4; ++i)
      threads.emplace_back(
          [&, i] { LiveOnce(federation.sites[i], *aggregator, stop).status().IgnoreError(); });
    CrashPoint never;
    const auto report = LiveOnce(federation.sites[0], *aggregator, never);
    stop.dead = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(absl::IsPermissionDenied(report.status()) ||
                absl::IsInvalidArgument(report.status()))
        << report.status();
    EXPECT_THAT(std::string(report.status().message()), HasSubstr(said));
  }
}

}  // namespace
}  // namespace ds::federated
