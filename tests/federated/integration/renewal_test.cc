// Certificates are renewed in the middle of a run of secure rounds, the sites' and the server's,
// and the old ones go out of force at once: no round is lost, no update is missing.
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "federated/agent/file_vault.h"
#include "federated/agent/run_agent.h"
#include "federated/aggregator/aggregator.h"
#include "federated/jobs/site_connection.h"
#include "federated/pki/renewed_identity.h"
#include "federated/rpc/server.h"
#include "federated/simulate/virtual_trainer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

constexpr int64_t kRounds = 8, kRenewAfter = 2;
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

// As slow as a round of real training, so that a renewal takes place in the middle of rounds.
class SlowTrainer final : public LocalTrainer {
 public:
  explicit SlowTrainer(std::unique_ptr<LocalTrainer> trainer) : trainer_(std::move(trainer)) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& file) override {
    return trainer_->Open(offer, file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    absl::SleepFor(absl::Milliseconds(200));
    return trainer_->Train(round, weights, control, own_control);
  }

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
};

class RenewalTest : public PkiTest {
 protected:
  RenewalTest() {
    now_ -= absl::Hours(24 * 50);  // of 90: renewal is due today
    authority_ = MakeAuthority("federation");
    for (const char* site : kSites) Enrolled(site);
    now_ += absl::Hours(24 * 50);
    DS_CHECK(authority_->IssueServer("hub", {"127.0.0.1"}).ok());
  }

  std::string Serial(const std::string& site) {
    return Must(ReadCertificate(Must(ReadCredentials(IdentityFile(SiteFolder(site)))).certificate))
        .serial;
  }
  bool IsRefused(const std::string& serial) {
    MutexLock lock(mutex_);
    return refused_.count(serial) > 0;
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
      MutexLock lock(mutex_);
      refused_.insert(before);
    }
    EXPECT_TRUE(authority_->IssueServer("hub", {}).ok());
    ++renewals_;
  }

  void OpenAggregator() {
    std::shared_ptr<Store> store = MemoryStore();
    const absl::string_view model = "a model's file";
    AggregatorOptions options;
    options.offer = {.name = "test", .task = "{}"};
    options.offer.model =
        Must(PutBlob(*store, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(model.data()),
                                                 model.size())));
    options.offer.options.round = {.rounds = kRounds, .minimum = 3, .wait_for = 3};
    options.offer.options.secure.mode = "on";
    options.offer.options.secure.rounds_a_setup = 2;  // new keys are signed before and after
    options.initial = [this]() -> absl::StatusOr<InitialModel> {
      LocalModel initial = VirtualModel(problem_);
      return InitialModel{std::move(initial.layout), std::move(initial.weights)};
    };
    options.identity = Must(FileSiteIdentity::Open(
        ServerFile(folder_.File("federation")),
        {.is_revoked = [this](const std::string& serial) { return IsRefused(serial); }}));
    options.scratch = folder_.path();
    options.observer = renewer_;
    aggregator_ = Must(Aggregator::Open(options, store));
    const std::string served = ServerFile(folder_.File("federation"));
    server_ = Must(ServeFederation(
        {.address = "127.0.0.1:0",
         .tls = {served, served, served},
         .revoked = [this](const std::string& serial) { return IsRefused(serial); }},
        *aggregator_, authority_.get()));
  }
  absl::StatusOr<AgentReport> Live(const std::string& site) {
    const auto files = Must(SiteFiles::Open(SiteFolder(site) + "/files"));
    SlowTrainer trainer(MakeVirtualTrainer(problem_, site));
    const std::shared_ptr<const SiteIdentity> identity =
        Must(FollowIdentity(IdentityFile(SiteFolder(site))));
    RunAgentOptions options;
    options.give_up_after = absl::Seconds(30);
    return RunAgent(options,
                    {.client = clients_.at(site).get(),
                     .trainer = &trainer,
                     .files = files.get(),
                     .vault = Must(OpenFileVault(SiteFolder(site) + "/vault")),
                     .identity = identity},
                    nullptr);
  }

  const VirtualProblem problem_;
  Mutex mutex_;
  std::set<std::string> refused_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> renewals_{0};
  std::shared_ptr<Renewer> renewer_ = std::make_shared<Renewer>([this] { RenewAll(); });
  std::map<std::string, std::unique_ptr<RpcClient>> clients_;
  std::unique_ptr<Aggregator> aggregator_;
  std::unique_ptr<FederationServer> server_;
};

TEST_F(RenewalTest, NoRoundIsLost) {
  OpenAggregator();
  for (const char* site : kSites) {
    const auto source = Must(IdentitySource::Open(IdentityFile(SiteFolder(site))));
    clients_[site] = Must(ConnectFederation({.address = absl::StrCat("127.0.0.1:", server_->port()),
                                             .identity = [source] { return source->Get(); },
                                             .patience = absl::Seconds(20)}));
  }
  std::vector<std::thread> threads;
  for (const std::string site : kSites) {
    threads.emplace_back([this, site] {
      const auto report = Live(site);
      ASSERT_TRUE(report.ok()) << site << ": " << report.status();
      EXPECT_EQ(report->end, EndState::kFinished);
      EXPECT_EQ(report->counted, kRounds) << site;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(aggregator_->WaitForEnd(absl::Seconds(20)).ok());
  EXPECT_EQ(renewals_, 1);
  const std::vector<RoundReport> rounds = renewer_->rounds();
  ASSERT_EQ(rounds.size(), static_cast<size_t>(kRounds));
  for (const RoundReport& round : rounds) {
    EXPECT_TRUE(round.published) << round.round << ": " << round.reason;
    EXPECT_EQ(round.counted.size(), 3u) << round.round;
  }
}

}  // namespace
}  // namespace ds::federated
