// A site without a trainer: follows the aggregator's situations on a thread of its own, and sends
// an update that is a function of site, round and base, so that two runs can be compared bit by
// bit.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/mutex.h"
#include "base/random.h"
#include "federated/aggregator/aggregator.h"
#include "federated/update/global_model.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

inline InitialModel TestModel(int64_t size = 40) {
  InitialModel model{.layout = {.slots = {{"weight", size - 4}, {"bias", 4}}}};
  for (int64_t i = 0; i < size; ++i)
    model.weights.push_back(0.1f * static_cast<float>(i % 7) - 0.3f);
  return model;
}

inline std::string ReadAll(const BlobReader& reader) {
  std::string bytes(reader.size(), '\0');
  const absl::Status status =
      reader.Read(0, absl::MakeSpan(reinterpret_cast<std::byte*>(bytes.data()), bytes.size()));
  return status.ok() ? bytes : "";
}

class FakeSite {
 public:
  FakeSite(FederationService& service, std::string name, int64_t model_size = 40)
      : service_(service),
        caller_{.site = name, .role = "site"},
        name_(std::move(name)),
        model_size_(model_size) {}
  virtual ~FakeSite() { Stop(); }

  const Caller& caller() const { return caller_; }
  const std::string& name() const { return name_; }

  absl::Status Join() {
    auto hello = service_.Hello(caller_, {});
    if (!hello.ok()) return hello.status();
    offer_ = hello->offer;
    return service_.Join(caller_, {offer_.run, 100}).status();
  }
  void Watch() {
    auto subscription = service_.Watch(caller_, [this](const Situation& situation) {
      MutexLock lock(mutex_);
      newest_ = situation;
      ++deliveries_;
      changed_.NotifyAll();
    });
    if (subscription.ok()) subscription_ = *std::move(subscription);
  }
  void Disconnect() { subscription_.reset(); }
  void Start() {
    {
      MutexLock lock(mutex_);
      stop_ = false;
    }
    thread_ = std::thread([this] { Loop(); });
  }
  void Stop() {
    {
      MutexLock lock(mutex_);
      stop_ = true;
      changed_.NotifyAll();
    }
    if (thread_.joinable()) thread_.join();
    Disconnect();
  }
  void JoinAndStart() {
    const absl::Status joined = Join();
    if (!joined.ok()) return Fail(joined);
    Watch();
    Start();
  }
  // The newest situation once `done(situation)`; the last one seen after 10 s.
  template <typename Done>
  Situation Await(const Done& done) {
    const Deadline deadline = Deadline::In(absl::Seconds(10));
    MutexLock lock(mutex_);
    while (!done(newest_) && !deadline.IsPast()) changed_.WaitUntil(mutex_, deadline.Moment());
    return newest_;
  }
  Situation newest() {
    MutexLock lock(mutex_);
    return newest_;
  }
  std::string failure() {
    MutexLock lock(mutex_);
    return failure_;
  }
  int64_t version() const { return version_; }
  const RunOffer& offer() const { return offer_; }

  // The packed update of a round on the model of this site, which is brought to `situation`.
  absl::StatusOr<std::string> MakeUpdate(const Situation& situation) {
    const absl::Status caught_up = CatchUp(situation);
    if (!caught_up.ok()) return caught_up;
    CounterRandom random(StreamOf(name_.data(), name_.size()), situation.plan.round);
    std::vector<float> delta(model_size_);
    for (float& value : delta) value = random.NextFloat() - 0.5f;
    auto encoded = model_->Encode(delta, {.samples = 100, .train_loss = 1}, {}, 1, nullptr);
    if (!encoded.ok()) return encoded.status();
    return Finished(situation, *encoded);
  }
  absl::Status Send(const std::string& bytes) {
    const absl::Span<const std::byte> span(reinterpret_cast<const std::byte*>(bytes.data()),
                                           bytes.size());
    const std::string digest = Sha256Hex(bytes);
    auto there = service_.UploadStatus(caller_, digest, span.size());
    if (!there.ok()) return there.status();
    return service_.Upload(caller_, digest, span.size(), *there, span.subspan(*there));
  }
  absl::StatusOr<CommitReply> CommitUpdate(const Situation& situation, const std::string& bytes) {
    return service_.Commit(caller_, {offer_.run, situation.plan.round, situation.plan.base_digest,
                                     Sha256Hex(bytes), Notes()});
  }
  absl::Status CatchUp(const Situation& situation);

 protected:
  // Secure sites mask here.
  virtual absl::StatusOr<std::string> Finished(const Situation& situation,
                                               const IntegerVector& update) {
    const std::vector<std::byte> packed = Pack(update);
    return std::string(reinterpret_cast<const char*>(packed.data()), packed.size());
  }
  virtual std::vector<std::string> Notes() { return {}; }
  virtual bool IsDue(const Situation& situation) {
    return situation.phase == Phase::kCollect && situation.plan.selected && !situation.committed;
  }
  virtual absl::Status ActSecure(const Situation& situation) { return absl::OkStatus(); }
  void Fail(const absl::Status& status) {
    MutexLock lock(mutex_);
    if (failure_.empty()) failure_ = absl::StrCat(name_, ": ", status.ToString());
  }
  absl::StatusOr<std::string> Fetch(const std::string& digest) {
    auto reader = service_.Download(caller_, digest);
    if (!reader.ok()) return reader.status();
    return ReadAll(**reader);
  }

  FederationService& service_;
  const Caller caller_;
  const std::string name_;
  RunOffer offer_;
  std::unique_ptr<GlobalModel> model_;

 private:
  absl::Status Act(const Situation& situation);
  absl::Status TakeSnapshot(const Situation& situation);
  void Loop();

  const int64_t model_size_;
  std::atomic<int64_t> version_ = -1;
  std::unique_ptr<Subscription> subscription_;
  std::thread thread_;
  Mutex mutex_;
  CondVar changed_;
  Situation newest_ ABSL_GUARDED_BY(mutex_);
  int64_t deliveries_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::string failure_ ABSL_GUARDED_BY(mutex_);
};

inline absl::Status FakeSite::TakeSnapshot(const Situation& situation) {
  auto bytes = Fetch(situation.snapshot);
  if (!bytes.ok()) return bytes.status();
  const TempFolder folder;
  const std::string path = folder.path() + "/snapshot";
  if (auto status = WriteFileAtomically(path, *bytes); !status.ok()) return status;
  auto model = GlobalModel::Load(path, offer_.options);
  if (!model.ok()) return model.status();
  model_ = *std::move(model);
  return absl::OkStatus();
}

inline absl::Status FakeSite::CatchUp(const Situation& situation) {
  if (model_ == nullptr) {
    auto joined = service_.Join(caller_, {offer_.run, 100});
    if (!joined.ok()) return joined.status();
    InitialModel initial = TestModel(model_size_);
    auto model = GlobalModel::Create(initial.layout, initial.weights, offer_.options,
                                     joined->maximum_sites, joined->samples_reference);
    if (!model.ok()) return model.status();
    model_ = *std::move(model);
  }
  for (const PublishedRef& ref : situation.recent) {
    if (ref.version != model_->version() + 1) continue;
    auto bytes = Fetch(ref.blob);
    if (!bytes.ok()) return bytes.status();
    auto published = Published::Decode(*bytes);
    if (!published.ok()) return published.status();
    if (auto status = model_->Advance(*published, nullptr, nullptr); !status.ok()) return status;
    if (model_->digest() != ref.model_digest) return absl::DataLossError("another model's digest");
  }
  if (model_->version() < situation.snapshot_version) {
    if (auto status = TakeSnapshot(situation); !status.ok()) return status;
  }
  if (model_->version() != situation.version) {
    return absl::DataLossError(
        absl::StrCat("version ", model_->version(), " of ", situation.version));
  }
  version_ = model_->version();
  return absl::OkStatus();
}

inline absl::Status FakeSite::Act(const Situation& situation) {
  if (auto status = ActSecure(situation); !status.ok()) return status;
  if (IsDue(situation)) {
    auto update = MakeUpdate(situation);
    if (!update.ok()) return update.status();
    if (auto status = Send(*update); !status.ok()) return status;
    return CommitUpdate(situation, *update).status();
  }
  if (situation.phase == Phase::kEnded && situation.version > 0) return CatchUp(situation);
  return absl::OkStatus();
}

inline void FakeSite::Loop() {
  int64_t seen = 0;
  while (true) {
    Situation situation;
    {
      MutexLock lock(mutex_);
      while (deliveries_ == seen && !stop_) changed_.Wait(mutex_);
      if (deliveries_ == seen) return;  // what was said before the stop is heard
      seen = deliveries_;
      situation = newest_;
    }
    const absl::Status status = Act(situation);
    // The run may have gone on meanwhile: then the next situation says what is due.
    const bool stale = newest().number != situation.number;
    const bool wait = stale || absl::IsUnavailable(status) || absl::IsNotFound(status);
    if (!status.ok() && !wait) Fail(status);
    if (situation.phase == Phase::kEnded) return;
  }
}

}  // namespace ds::federated
