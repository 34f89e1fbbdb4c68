// The aggregator is thrown away at every boundary and opened again on what its store holds: sites
// go on, and the model is that of a run which was never disturbed.
#include <gmock/gmock.h>

#include <atomic>

#include "tests/federated/aggregator/aggregator_fixture.h"
#include "tests/federated/aggregator/secure_site.h"

namespace ds::federated {
namespace {

// A store whose power may be cut: from then on nothing is written, and nothing said.
class CutStore final : public Store {
 public:
  explicit CutStore(std::shared_ptr<Store> store) : store_(std::move(store)) {}
  void Cut() { cut_ = true; }
  absl::StatusOr<int64_t> Append(absl::string_view record) override {
    if (cut_) return absl::UnavailableError("cut");
    return store_->Append(record);
  }
  absl::Status Replay(absl::FunctionRef<absl::Status(int64_t, absl::string_view)> visit) override {
    return store_->Replay(visit);
  }
  absl::StatusOr<std::unique_ptr<BlobWriter>> Write(const std::string& digest,
                                                    int64_t size) override {
    if (cut_) return absl::UnavailableError("cut");
    return store_->Write(digest, size);
  }
  bool Has(const std::string& digest) const override { return store_->Has(digest); }
  absl::StatusOr<std::shared_ptr<BlobReader>> Read(const std::string& digest) const override {
    return store_->Read(digest);
  }
  absl::Status Remove(const std::string& digest) override {
    return cut_ ? absl::UnavailableError("cut") : store_->Remove(digest);
  }
  absl::StatusOr<std::vector<std::string>> Blobs() const override { return store_->Blobs(); }

 private:
  const std::shared_ptr<Store> store_;
  std::atomic<bool> cut_ = false;
};

// What stands at a fixed address while the aggregators behind it come and go.
class Gate final : public FederationService {
 public:
  void Set(Aggregator* aggregator) {
    MutexLock lock(mutex_);
    aggregator_ = aggregator;
  }
  absl::StatusOr<HelloReply> Hello(const Caller& caller, const HelloRequest& request) override {
    MutexLock lock(mutex_);
    if (aggregator_ == nullptr) return Away();
    return aggregator_->Hello(caller, request);
  }
  absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) override {
    return Pass([&](Aggregator& to) { return to.Join(caller, request); });
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) override {
    return Pass([&](Aggregator& to) { return to.Watch(caller, changed); });
  }
  absl::StatusOr<CommitReply> Commit(const Caller& caller, const CommitRequest& request) override {
    return Pass([&](Aggregator& to) { return to.Commit(caller, request); });
  }
  absl::StatusOr<SecureReply> Secure(const Caller& caller, const SecureRequest& request) override {
    return Pass([&](Aggregator& to) { return to.Secure(caller, request); });
  }
  absl::StatusOr<int64_t> UploadStatus(const Caller& caller, const std::string& digest,
                                       int64_t size) override {
    return Pass([&](Aggregator& to) { return to.UploadStatus(caller, digest, size); });
  }
  absl::Status Upload(const Caller& caller, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override {
    return Pass([&](Aggregator& to) { return to.Upload(caller, digest, size, offset, bytes); });
  }
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller& caller,
                                                       const std::string& digest) override {
    return Pass([&](Aggregator& to) { return to.Download(caller, digest); });
  }

 private:
  static absl::Status Away() { return absl::UnavailableError("no aggregator"); }
  // Calls under way keep the aggregator: Set waits for them.
  template <typename Call>
  auto Pass(const Call& call) -> decltype(call(std::declval<Aggregator&>())) {
    MutexLock lock(mutex_);
    if (aggregator_ == nullptr) return Away();
    return call(*aggregator_);
  }

  Mutex mutex_;
  Aggregator* aggregator_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// The first two are the run's first record, before anybody can call.
constexpr int64_t kFirst = 3;

class Restarts : public AggregatorTest {
 protected:
  Restarts() {
    run().round = {.rounds = 4, .wait_for = 3, .deadline_s = 20, .unmask_deadline_s = 20};
    options_.snapshot_every = 2;
    options_.limits.comes_back = absl::Seconds(5);
  }

  // The run with the power cut at the `at`th boundary (counted from 1; 0: never). The last model;
  // `boundaries`: how many there were.
  std::vector<float> Run(int64_t at, bool secure, int64_t* boundaries = nullptr) {
    auto disk = MemoryStore();
    std::shared_ptr<Store> shared = std::move(disk);
    auto cut = std::make_shared<CutStore>(shared);
    store_ = cut;
    told_ = std::make_shared<Told>();
    options_.observer = told_;
    std::atomic<int64_t> passed = 0;
    std::atomic<bool> down = false;
    options_.boundary = [&](absl::string_view) {
      if (++passed != at) return;
      cut->Cut();
      down = true;
    };
    Gate gate;
    OpenAggregator();
    gate.Set(aggregator_.get());
    const std::string run_id = aggregator_->offer().run;
    std::vector<std::unique_ptr<FakeSite>> sites;
    for (int i = 0; i < 3; ++i) {
      const std::string name = absl::StrCat("site-", i);
      if (secure) {
        sites.push_back(std::make_unique<SecureSite>(gate, name, authority_));
      } else {
        sites.push_back(std::make_unique<FakeSite>(gate, name));
      }
    }
    const auto start = [&] {
      for (auto& site : sites) {
        // The start may be where the power fails.
        while (!site->Join().ok() && !down) {
        }
        site->Watch();
        site->Start();
      }
    };
    start();
    const Deadline patience = Deadline::In(absl::Seconds(20));
    while (!down && !aggregator_->WaitForEnd(absl::Milliseconds(5)).ok() && !patience.IsPast()) {
    }
    if (down) {
      gate.Set(nullptr);
      for (auto& site : sites) site->Stop();
      aggregator_.reset();
      store_ = shared;
      options_.boundary = nullptr;
      const Deadline back = Deadline::In(absl::Seconds(2));
      OpenAggregator();
      EXPECT_FALSE(back.IsPast()) << "not back at work within 2 s";
      EXPECT_EQ(aggregator_->offer().run, run_id);
      gate.Set(aggregator_.get());
      start();
    }
    const RunEnded end = End();
    EXPECT_EQ(end.state, EndState::kFinished) << end.reason;
    for (auto& site : sites) {
      site->Stop();
      EXPECT_EQ(site->failure(), "");
    }
    CheckLog();
    sites.clear();
    aggregator_.reset();
    if (boundaries != nullptr) *boundaries = passed;
    return told_->weights();
  }

  void CheckLog() {
    std::map<int64_t, int> survivors;
    std::set<std::pair<int64_t, std::string>> updates;
    for (const Record& record : Log()) {
      if (const auto* fixed = std::get_if<SurvivorsFixed>(&record)) {
        EXPECT_EQ(++survivors[fixed->round], 1);
        EXPECT_EQ(fixed->sites.size(), 3u);
      } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
        EXPECT_TRUE(updates.emplace(update->round, update->site).second);
      }
      EXPECT_FALSE(std::holds_alternative<RoundAbandoned>(record));
    }
  }

  std::shared_ptr<TestAuthority> authority_ = std::make_shared<TestAuthority>();
};

TEST_F(Restarts, AtEveryBoundaryOfARunInTheOpen) {
  int64_t boundaries = 0;
  const std::vector<float> undisturbed = Run(0, false, &boundaries);
  ASSERT_EQ(undisturbed.size(), 40u);
  ASSERT_GT(boundaries, 20);
  for (int64_t at = kFirst; at < boundaries; ++at) {
    SCOPED_TRACE(at);
    EXPECT_EQ(Run(at, false), undisturbed);
    if (HasFatalFailure()) return;
  }
}

TEST_F(Restarts, AtEveryBoundaryOfASecureRun) {
  options_.identity = std::make_shared<TestIdentity>("aggregator", authority_);
  run().secure = {.mode = "on", .rounds_a_setup = 2, .colluders = 1, .least_difference = 0};
  int64_t boundaries = 0;
  const std::vector<float> undisturbed = Run(0, true, &boundaries);
  ASSERT_EQ(undisturbed.size(), 40u);
  for (int64_t at = kFirst; at < boundaries; at += 2) {
    SCOPED_TRACE(at);
    EXPECT_EQ(Run(at, true), undisturbed);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ds::federated
