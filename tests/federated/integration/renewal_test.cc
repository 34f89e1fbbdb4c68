// Certificates are renewed in the middle of a run of secure rounds, the sites' and the server's,
// and the old ones go out of force at once: no round is lost, no update is missing. And one is
// revoked while the next set-up is made beside a round: the others go on.
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/status.h"
#include "federated/round/records.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/integration/network_run.h"

namespace ds::federated {
namespace {

constexpr int64_t kRounds = 8, kRenewAfter = 2;
constexpr int64_t kRevokedRounds = 4;  // two of each set-up
const char* const kSites[] = {"alice", "bob", "carol"};

// Of the aggregator: calls `renew` after round kRenewAfter, from a thread of its own.
class Renewer final : public Observer {
 public:
  explicit Renewer(std::function<void()> renew) : renew_(std::move(renew)) {}
  ~Renewer() override {
    if (thread_.joinable()) thread_.join();
  }
  void RoundEnded(const RoundReport& report) override {
    MutexLock lock(mutex_);
    rounds_.push_back(report);
    if (rounds_.size() == kRenewAfter) thread_ = std::thread(renew_);
  }
  std::vector<RoundReport> rounds() {
    MutexLock lock(mutex_);
    return rounds_;
  }

 private:
  const std::function<void()> renew_;
  Mutex mutex_;
  std::vector<RoundReport> rounds_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

RunOptions Secure(const RoundOptions& round) {
  RunOptions run;
  run.round = round;
  run.secure.mode = "on";
  run.secure.rounds_a_setup = 2;  // new keys are signed before and after
  return run;
}

class RenewalTest : public NetworkRun {
 protected:
  RenewalTest() {
    now_ -= absl::Hours(24 * 50);  // of 90: renewal is due today
    authority_ = MakeAuthority("federation");
    for (const char* site : kSites) Enrolled(site);
    now_ += absl::Hours(24 * 50);
    DS_CHECK(authority_->IssueServer("hub", {"127.0.0.1"}).ok());
  }
  // As ds_agent and ds_pki do; what was in force before is refused from then on.
  void RenewAll() {
    for (const char* site : kSites) {
      const std::string before = Serial(site);
      const auto renewed = RenewIfDue(SiteFolder(site), [&](const RenewRequest& request) {
        return clients_.at(site)->Renew(request);
      });
      EXPECT_TRUE(renewed.ok() && *renewed) << renewed.status();
      EXPECT_NE(Serial(site), before);
      absl::SleepFor(absl::Milliseconds(150));  // the file is looked at so often
      Refuse(before);
    }
    EXPECT_TRUE(authority_->IssueServer("hub", {}).ok());
    ++renewals_;
  }

  std::atomic<int> renewals_{0};
};

TEST_F(RenewalTest, NoRoundIsLost) {
  const auto renewer = std::make_shared<Renewer>([this] { RenewAll(); });
  OpenAggregator(Secure({.rounds = kRounds, .minimum = 3, .wait_for = 3}), renewer);
  for (const char* site : kSites) Connect(site);
  std::vector<std::thread> threads;
  for (const std::string site : kSites) {
    threads.emplace_back([this, site] {
      const auto report = Live(site, *clients_.at(site));
      ASSERT_TRUE(report.ok()) << site << ": " << report.status();
      EXPECT_EQ(report->end, EndState::kFinished);
      EXPECT_EQ(report->counted, kRounds) << site;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(aggregator_->WaitForEnd(absl::Seconds(20)).ok());
  EXPECT_EQ(renewals_, 1);
  const std::vector<RoundReport> rounds = renewer->rounds();
  ASSERT_EQ(rounds.size(), static_cast<size_t>(kRounds));
  for (const RoundReport& round : rounds) {
    EXPECT_TRUE(round.published) << round.round << ": " << round.reason;
    EXPECT_EQ(round.counted.size(), 3u) << round.round;
  }
}

// Of a site that is revoked when it is about to answer a step of the second set-up.
class RevokedClient final : public ForwardingClient {
 public:
  RevokedClient(FederationClient& client, SecureStep step, std::function<void()> revoke)
      : ForwardingClient(client), step_(step), revoke_(std::move(revoke)) {}
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override {
    if (request.epoch == 1 && request.step == step_) revoke_();
    return ForwardingClient::Secure(request);
  }

 private:
  const SecureStep step_;
  const std::function<void()> revoke_;
};

class RevocationTest : public NetworkRun, public ::testing::WithParamInterface<SecureStep> {
 protected:
  RevocationTest() {
    authority_ = MakeAuthority("federation");
    for (const char* site : kSites) Enrolled(site);
    Enrolled("dave");
    DS_CHECK(authority_->IssueServer("hub", {"127.0.0.1"}).ok());
  }
  // Of all rounds: the revoked site is in those of the first set-up, the others in all.
  void CheckLog(int64_t rounds) {
    bool started = false;
    int64_t published = 0;
    const absl::Status read = store_->Replay([&](int64_t, absl::string_view text) {
      DS_ASSIGN_OR_RETURN(const std::vector<Record> records, DecodeRecords(text));
      for (const Record& record : records) {
        EXPECT_FALSE(std::holds_alternative<RoundAbandoned>(record));
        if (const auto* setup = std::get_if<SetupStarted>(&record)) started |= setup->epoch == 1;
        if (const auto* plan = std::get_if<RoundPlanned>(&record)) {
          EXPECT_EQ(plan->selected.size(), plan->secure_epoch == 0 ? 4u : 3u) << plan->round;
          EXPECT_TRUE(plan->round < 2 || plan->secure_epoch > 0);
        }
        published += std::holds_alternative<RoundPublished>(record);
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    EXPECT_TRUE(started) << "the set-up beside a round";
    EXPECT_EQ(published, rounds);
  }
};

TEST_P(RevocationTest, ASiteThatIsRevokedDuringTheSetupBesideARoundIsNotInIt) {
  OpenAggregator(Secure({.rounds = kRevokedRounds,
                         .minimum = 3,
                         .wait_for = 4,
                         .deadline_s = 4,
                         .unmask_deadline_s = 3}),
                 nullptr);
  std::vector<std::thread> threads;
  for (const char* site : kSites) Connect(site);
  Connect("dave");
  for (const std::string site : kSites) {
    threads.emplace_back([this, site] {
      const auto report = Live(site, *clients_.at(site));
      ASSERT_TRUE(report.ok()) << site << ": " << report.status();
      EXPECT_EQ(report->end, EndState::kFinished) << report->reason;
      EXPECT_EQ(report->counted, kRevokedRounds) << site;
    });
  }
  RevokedClient client(*clients_.at("dave"), GetParam(), [this] { Refuse(Serial("dave")); });
  const auto left = Live("dave", client);
  EXPECT_EQ(left.status().code(), absl::StatusCode::kPermissionDenied) << left.status();
  EXPECT_THAT(std::string(left.status().message()), ::testing::HasSubstr("revoked"));
  for (std::thread& thread : threads) thread.join();
  CheckLog(kRevokedRounds);
}

INSTANTIATE_TEST_SUITE_P(Steps, RevocationTest,
                         ::testing::Values(SecureStep::kKeys, SecureStep::kShares),
                         [](const auto& info) {
                           return info.param == SecureStep::kKeys ? "keys" : "shares";
                         });

}  // namespace
}  // namespace ds::federated
