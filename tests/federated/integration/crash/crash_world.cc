#include "tests/federated/integration/crash/crash_world.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "tests/federated/integration/crash/log_model.h"

namespace ds::federated {
namespace {

constexpr char kModelFile[] = "the model's file";

absl::Status Away() { return absl::UnavailableError("the aggregator is away"); }

}  // namespace

// What sites see of one life: after its death no answer comes through any more.
class MortalService final : public FederationService {
 public:
  MortalService(CrashWorld& world, std::shared_ptr<Death> death)
      : world_(world), death_(std::move(death)) {}
  void Set(std::unique_ptr<Aggregator> aggregator) { aggregator_ = std::move(aggregator); }
  Aggregator& aggregator() { return *aggregator_; }
  bool IsDead() const { return death_->IsDead(); }
  absl::Duration first_answer() const { return absl::Nanoseconds(first_answer_.load()); }

  absl::StatusOr<HelloReply> Hello(const Caller& caller, const HelloRequest& request) override {
    return Answer([&] { return aggregator_->Hello(caller, request); });
  }
  absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) override {
    return Answer([&] { return aggregator_->Join(caller, request); });
  }
  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) override {
    return Answer([&] {
      return aggregator_->Watch(caller, [this, changed](const Situation& situation) {
        if (death_->IsDead()) return;
        Answered();
        // The next set-up's payloads may come in the same phase.
        const bool of_round = situation.secure_epoch == situation.plan.secure_epoch;
        if (situation.phase == Phase::kUnmask && of_round && !situation.secure_payload.empty())
          world_.Told(situation.plan.round, situation.secure_payload);
        changed(situation);
      });
    });
  }
  absl::StatusOr<CommitReply> Commit(const Caller& caller, const CommitRequest& request) override {
    return Answer([&] { return aggregator_->Commit(caller, request); });
  }
  absl::StatusOr<SecureReply> Secure(const Caller& caller, const SecureRequest& request) override {
    return Answer([&] { return aggregator_->Secure(caller, request); });
  }
  absl::StatusOr<int64_t> UploadStatus(const Caller& caller, const std::string& digest,
                                       int64_t size) override {
    return Answer([&] { return aggregator_->UploadStatus(caller, digest, size); });
  }
  absl::Status Upload(const Caller& caller, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override {
    return Answer([&] { return aggregator_->Upload(caller, digest, size, offset, bytes); });
  }
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller& caller,
                                                       const std::string& digest) override {
    return Answer([&] { return aggregator_->Download(caller, digest); });
  }

 private:
  void Answered() {
    int64_t never = 0;
    first_answer_.compare_exchange_strong(never, absl::ToInt64Nanoseconds(SteadyTime()));
  }
  template <typename Call>
  auto Answer(const Call& call) -> decltype(call()) {
    if (death_->IsDead()) return Away();
    auto reply = call();
    if (death_->IsDead()) return Away();
    Answered();
    return reply;
  }

  CrashWorld& world_;
  const std::shared_ptr<Death> death_;
  std::unique_ptr<Aggregator> aggregator_;
  std::atomic<int64_t> first_answer_ = 0;  // as SteadyTime; 0: none yet
};

struct CrashWorld::Life {
  std::unique_ptr<TempFolder> scratch = std::make_unique<TempFolder>();
  std::shared_ptr<Death> death;
  std::unique_ptr<MortalService> service;
};

// A site's way to whichever aggregator lives.
class ReconnectingClient final : public FederationClient {
 public:
  ReconnectingClient(CrashWorld& world, Caller caller)
      : world_(world), caller_(std::move(caller)) {}

  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override {
    return Call([&](FederationClient& to) { return to.Hello(request); });
  }
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override {
    return Call([&](FederationClient& to) { return to.Join(request); });
  }
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override {
    return Call([&](FederationClient& to) { return to.Next(known, patience); });
  }
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override {
    return Call([&](FederationClient& to) { return to.Commit(request); });
  }
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override {
    return Call([&](FederationClient& to) { return to.Secure(request); });
  }
  absl::Status Upload(const std::string& digest, const BlobReader& blob) override {
    return Call([&](FederationClient& to) { return to.Upload(digest, blob); });
  }
  absl::Status Download(const std::string& digest, BlobWriter& into) override {
    return Call([&](FederationClient& to) { return to.Download(digest, into); });
  }
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override {
    return Call([&](FederationClient& to) { return to.DownloadSize(digest); });
  }

 private:
  // A link lives as long as the aggregator at its other end.
  struct Link {
    std::shared_ptr<CrashWorld::Life> life;
    std::unique_ptr<InProcessClient> client;  // first to go
  };

  template <typename Use>
  auto Call(const Use& use) -> decltype(use(std::declval<FederationClient&>())) {
    const std::shared_ptr<Link> link = Connected();
    if (link == nullptr) return Away();
    auto reply = use(*link->client);
    if (link->life->death->IsDead()) return Away();
    return reply;
  }
  std::shared_ptr<Link> Connected() {
    const std::shared_ptr<CrashWorld::Life> life = world_.Current();
    std::shared_ptr<Link> old;  // goes without the lock
    MutexLock lock(mutex_);
    if (link_ != nullptr && link_->life == life) return link_;
    old = std::exchange(link_, nullptr);
    if (life == nullptr) return nullptr;
    link_ = std::make_shared<Link>();
    link_->life = life;
    link_->client = std::make_unique<InProcessClient>(*life->service, caller_, /*chunk_bytes=*/64);
    return link_;
  }

  CrashWorld& world_;
  const Caller caller_;
  Mutex mutex_;
  std::shared_ptr<Link> link_ ABSL_GUARDED_BY(mutex_);
};

namespace {

// The virtual trainer, at a site whose machine is slower.
class SlowTrainer final : public LocalTrainer {
 public:
  SlowTrainer(std::unique_ptr<LocalTrainer> trainer, absl::Duration least)
      : trainer_(std::move(trainer)), least_(least) {}
  absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& model_file) override {
    return trainer_->Open(offer, model_file);
  }
  absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    absl::SleepFor(least_);
    return trainer_->Train(round, weights, control, own_control);
  }
  void Interrupt() override { trainer_->Interrupt(); }

 private:
  const std::unique_ptr<LocalTrainer> trainer_;
  const absl::Duration least_;
};

}  // namespace

std::unique_ptr<LocalTrainer> MakeSlowTrainer(std::unique_ptr<LocalTrainer> trainer,
                                              absl::Duration least) {
  return std::make_unique<SlowTrainer>(std::move(trainer), least);
}

CrashWorld::CrashWorld(int sites, const RunOptions& options) : federation_(sites, options) {
  federation_.offer.model = Sha256Hex(kModelFile);
  federation_.offer.task = "{}";
  limits_.comes_back = absl::Seconds(30);
  auto store = disk_.Open(std::make_shared<Death>(0, false));
  const auto put =
      PutBlob(*store, {reinterpret_cast<const std::byte*>(kModelFile), sizeof(kModelFile) - 1});
  DS_CHECK(put.ok()) << put.status();
}

absl::StatusOr<std::shared_ptr<CrashWorld::Life>> CrashWorld::Begin(const AggregatorDeath& death) {
  auto life = std::make_shared<Life>();
  life->death = std::make_shared<Death>(death.at, death.with_effect, death.entry);
  life->service = std::make_unique<MortalService>(*this, life->death);
  AggregatorOptions options;
  options.offer = federation_.offer;
  options.initial = [this]() -> absl::StatusOr<InitialModel> {
    const LocalModel model = VirtualModel(federation_.problem);
    return InitialModel{model.layout, model.weights};
  };
  options.identity = federation_.sites[0].identity;
  options.scratch = life->scratch->path();
  options.limits = limits_;
  options.snapshot_every = 2;
  // Some blobs in the log, some beside it.
  options.inline_bytes = 40;
  options.boundary = [death = life->death](absl::string_view) {
    death->Step([] { return absl::OkStatus(); }).IgnoreError();
  };
  std::shared_ptr<Store> store = disk_.Open(life->death);
  auto aggregator = Aggregator::Open(std::move(options), std::move(store));
  // Dead before it was open, which is a life too.
  if (life->death->IsDead()) return life;
  DS_RETURN_IF_ERROR(aggregator.status());
  life->service->Set(*std::move(aggregator));
  return life;
}

std::shared_ptr<CrashWorld::Life> CrashWorld::Current() {
  MutexLock lock(mutex_);
  return life_;
}

void CrashWorld::SetCurrent(std::shared_ptr<Life> life) {
  MutexLock lock(mutex_);
  std::swap(life_, life);
}

void CrashWorld::Told(int64_t round, const std::string& digest) {
  MutexLock lock(mutex_);
  told_[round].insert(digest);
}

void CrashWorld::LiveSite(size_t index, const Troubles& troubles,
                          absl::StatusOr<AgentReport>& report) {
  const SiteHome& home = federation_.sites[index];
  std::vector<SiteDeath> deaths;
  for (const SiteDeath& death : troubles.sites)
    if (death.site == static_cast<int>(index)) deaths.push_back(death);
  deaths.push_back({});
  for (size_t life = 0; life < deaths.size(); ++life) {
    CrashPoint crash;
    crash.at = deaths[life].at;
    crash.with_effect = deaths[life].with_effect;
    LinkFaults faults = troubles.link;
    faults.seed = troubles.seed * 1000 + index * 10 + life;
    ReconnectingClient link(*this, home.caller());
    FaultyClient faulty(link, faults);
    CrashingClient client(faulty, crash);
    std::unique_ptr<LocalTrainer> trainer = MakeVirtualTrainer(home.problem, home.site);
    if (training_ > absl::ZeroDuration()) trainer = MakeSlowTrainer(std::move(trainer), training_);
    const AgentParts parts = {.client = &client,
                              .trainer = trainer.get(),
                              .files = home.files.get(),
                              .vault = std::make_shared<CrashingVault>(home.vault, crash),
                              .identity = home.identity};
    RunAgentOptions options = home.options;
    options.give_up_after = absl::Seconds(25);
    report = RunAgent(options, parts, &crash.dead);
    if (!crash.dead || !deaths[life].comes_back) break;
  }
  MutexLock lock(mutex_);
  --sites_living_;
}

// Begins one life of the aggregator after the other, until sites and run are through.
absl::Status CrashWorld::Supervise(const Troubles& troubles, WorldOutcome& outcome) {
  std::shared_ptr<Life> life;
  const Deadline patience = Deadline::In(absl::Seconds(15));
  absl::Duration died = absl::ZeroDuration();
  while (!patience.IsPast()) {
    const auto number = static_cast<size_t>(outcome.lives++);
    const AggregatorDeath death =
        number < troubles.aggregator.size() ? troubles.aggregator[number] : AggregatorDeath{};
    DS_ASSIGN_OR_RETURN(life, Begin(death));
    SetCurrent(life->death->IsDead() ? nullptr : life);
    while (!life->death->IsDead() && !patience.IsPast()) {
      absl::SleepFor(absl::Milliseconds(1));
      const absl::Duration answered = life->service->first_answer();
      if (died != absl::ZeroDuration() && answered != absl::ZeroDuration()) {
        outcome.slowest_return = std::max(outcome.slowest_return, answered - died);
        died = absl::ZeroDuration();
      }
      {
        MutexLock lock(mutex_);
        if (sites_living_ > 0) continue;
      }
      const auto ended = life->service->aggregator().WaitForEnd(absl::Milliseconds(20));
      if (!ended.ok()) continue;
      if (outcome.lives == 1) outcome.steps = life->death->steps();
      SetCurrent(nullptr);
      return absl::OkStatus();
    }
    died = SteadyTime();
    SetCurrent(nullptr);
    if (death.power) disk_.LosePower(troubles.seed + number);
  }
  std::string where;
  if (const auto report = life->service->aggregator().Report(); report.ok()) {
    where = absl::StrCat(StageName(report->stage), ", round ", report->round, ", ",
                         report->committed, " updates");
    for (const SiteReport& site : report->sites)
      absl::StrAppend(&where, "; ", site.site, site.present ? " is there" : " is away",
                      site.committed ? ", committed" : "", ", refused ", site.refused, " ",
                      site.last_refusal);
  }
  SetCurrent(nullptr);
  return absl::DeadlineExceededError(absl::StrCat("the run did not end: ", where));
}

WorldOutcome CrashWorld::Run(const Troubles& troubles) {
  WorldOutcome outcome;
  const size_t count = federation_.sites.size();
  outcome.reports.assign(count, absl::UnknownError("none"));
  {
    MutexLock lock(mutex_);
    sites_living_ = static_cast<int64_t>(count);
  }
  std::vector<std::thread> threads;
  for (size_t i = 0; i < count; ++i)
    threads.emplace_back([&, i] { LiveSite(i, troubles, outcome.reports[i]); });
  const absl::Status supervised = Supervise(troubles, outcome);
  // Sites that the aggregator left alone give up by themselves.
  for (std::thread& thread : threads) thread.join();
  outcome.log = ReadRunLog(disk_.Records());
  const LocalModel initial = VirtualModel(federation_.problem);
  outcome.model = outcome.log.ok()
                      ? CheckModels(*outcome.log, disk_.Ever(), {initial.layout, initial.weights})
                      : outcome.log.status();
  if (!supervised.ok()) outcome.log = supervised;
  outcome.blobs = disk_.blobs();
  MutexLock lock(mutex_);
  outcome.told = told_;
  return outcome;
}

}  // namespace ds::federated
