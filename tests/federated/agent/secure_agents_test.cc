// Agents and the aggregator as they are, in one process, under secure aggregation: what a killed
// site does with its masks, and whom a site refuses.
#include <atomic>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status.h"
#include "federated/round/records.h"
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

// Waits, before secrets of the first round are dropped, for the second training.
class WaitingVault final : public TestVault {
 public:
  explicit WaitingVault(const std::atomic<int>& trainings) : trainings_(trainings) {}
  absl::Status Put(const std::string& name, absl::string_view value) override {
    // Keys are written when they are made, and when their shares have served; then they are
    // dropped.
    if (absl::StrContains(name, ".keys.0") && ++keys_ > 2) {
      const Deadline deadline = Deadline::In(absl::Seconds(20));
      while (trainings_ < 2 && !deadline.IsPast()) absl::SleepFor(absl::Milliseconds(1));
      if (trainings_ < 2) return absl::DataLossError("the round waits for the disk");
      dropped = true;
    }
    return TestVault::Put(name, value);
  }
  std::atomic<bool> dropped = false;

 private:
  const std::atomic<int>& trainings_;
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
    ++trainings;
    return trainer_->Train(round, weights, control, own_control);
  }
  std::atomic<int> trainings = 0;

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
};

TEST(SecureAgentTest, ARoundDoesNotWaitUntilOldSecretsAreDropped) {
  RunOptions options = Secure("on");
  options.round.minimum = 4;
  Federation federation(4, options);
  NotingTrainer trainer(federation.problem, federation.sites[0].site);
  const auto vault = std::make_shared<WaitingVault>(trainer.trainings);
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

std::vector<Record> RecordsOf(Store& store) {
  std::vector<Record> all;
  const absl::Status read = store.Replay([&](int64_t, absl::string_view text) {
    DS_ASSIGN_OR_RETURN(const std::vector<Record> records, DecodeRecords(text));
    all.insert(all.end(), records.begin(), records.end());
    return absl::OkStatus();
  });
  EXPECT_TRUE(read.ok()) << read;
  return all;
}

// Trains the last round of a set-up until the next set-up is done.
class UntilNextSetup final : public LocalTrainer {
 public:
  UntilNextSetup(const SiteHome& home, Store& store, int64_t rounds_a_setup, int64_t rounds)
      : trainer_(MakeVirtualTrainer(home.problem, home.site)),
        store_(store),
        rounds_a_setup_(rounds_a_setup),
        rounds_(rounds) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    const bool waits = (round + 1) % rounds_a_setup_ == 0 && round + 1 < rounds_;
    const Deadline patience = Deadline::In(absl::Seconds(10));
    while (waits && !IsDone((round + 1) / rounds_a_setup_)) {
      if (patience.IsPast()) return absl::InternalError("no set-up beside this training");
      absl::SleepFor(absl::Milliseconds(1));
    }
    return trainer_->Train(round, weights, control, own_control);
  }
  void Interrupt() override {}

 private:
  bool IsDone(int64_t epoch) const {
    for (const Record& record : RecordsOf(store_)) {
      const auto* closed = std::get_if<SharesClosed>(&record);
      if (closed != nullptr && closed->epoch == epoch) return true;
    }
    return false;
  }

  const std::unique_ptr<LocalTrainer> trainer_;
  Store& store_;
  const int64_t rounds_a_setup_, rounds_;
};

TEST(SecureAgentTest, NoRoundWaitsForTheNextSetupWhichIsMadeWhileSitesTrain) {
  for (const int64_t rounds_a_setup : {1, 4}) {
    SCOPED_TRACE(rounds_a_setup);
    RunOptions options = Secure("on");
    options.round.rounds = 3 * rounds_a_setup;
    options.round.minimum = 4;
    options.secure.rounds_a_setup = rounds_a_setup;
    Federation federation(4, options);
    const std::unique_ptr<Aggregator> aggregator = federation.OpenAggregator();
    std::vector<std::thread> threads;
    for (const SiteHome& home : federation.sites) {
      threads.emplace_back([&] {
        UntilNextSetup trainer(home, *federation.store, rounds_a_setup, options.round.rounds);
        CrashPoint never;
        const auto report = LiveOnce(home, *aggregator, never, &trainer);
        ASSERT_TRUE(report.ok()) << report.status();
        EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
        EXPECT_EQ(report->counted, options.round.rounds);
      });
    }
    for (std::thread& thread : threads) thread.join();
    // What follows a publication is the next round's plan, whosever masks it takes.
    bool published = false;
    int64_t plans = 0;
    for (const Record& record : RecordsOf(*federation.store)) {
      if (std::holds_alternative<SnapshotTaken>(record)) continue;
      const auto* plan = std::get_if<RoundPlanned>(&record);
      if (published && plans < options.round.rounds) {
        ASSERT_NE(plan, nullptr) << RecordName(record) << " after round " << plans - 1;
      }
      if (plan != nullptr) {
        EXPECT_EQ(plan->secure_epoch, plans / rounds_a_setup);
        ++plans;
      }
      EXPECT_FALSE(std::holds_alternative<SetupAbandoned>(record));
      published = std::holds_alternative<RoundPublished>(record);
    }
    EXPECT_EQ(plans, options.round.rounds);
  }
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
