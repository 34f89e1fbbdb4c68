#include "tests/federated/agent/fake_aggregator.h"

#include <algorithm>

#include "base/check.h"
#include "base/file/file.h"

namespace ds::federated {

// Ends the watch with itself.
struct FakeAggregator::Watching final : public Subscription {
  Watching(FakeAggregator& owner, int id) : owner_(owner), id_(id) {}
  ~Watching() override {
    MutexLock lock(owner_.mutex_);
    owner_.watchers_.erase(id_);
  }
  FakeAggregator& owner_;
  const int id_;
};

FakeAggregator::FakeAggregator(Options options) : options_(std::move(options)) {
  const std::string model = "a model's file";
  absl::StatusOr<std::string> digest = PutBlob(
      *store_, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(model.data()), model.size()));
  DS_CHECK(digest.ok());
  options_.offer.model = *digest;
}

absl::StatusOr<HelloReply> FakeAggregator::Hello(const Caller&, const HelloRequest&) {
  return HelloReply{.version = kWireVersion, .program = "fake", .offer = options_.offer};
}

absl::StatusOr<JoinReply> FakeAggregator::Join(const Caller& caller, const JoinRequest& request) {
  MutexLock lock(mutex_);
  if (request.run != options_.offer.run) return absl::InvalidArgumentError("another run");
  joined_[caller.site] = request.samples;
  if (model_ == nullptr && static_cast<int>(joined_.size()) >= options_.sites) {
    for (const auto& [site, samples] : joined_) reference_ = std::max(reference_, samples);
    reference_ = std::max<int64_t>(reference_, 1);
    absl::StatusOr<std::unique_ptr<GlobalModel>> model = GlobalModel::Create(
        options_.layout, options_.weights, options_.offer.options, options_.sites, reference_);
    DS_CHECK(model.ok()) << model.status();
    model_ = *std::move(model);
    Tell();
  }
  if (model_ == nullptr) return JoinReply{};
  return JoinReply{.samples_reference = reference_, .maximum_sites = options_.sites};
}

absl::StatusOr<std::unique_ptr<Subscription>> FakeAggregator::Watch(
    const Caller& caller, std::function<void(const Situation&)> changed) {
  MutexLock lock(mutex_);
  const int id = next_watcher_++;
  changed(For(caller.site));
  watchers_[id] = {caller.site, std::move(changed)};
  return std::make_unique<Watching>(*this, id);
}

Situation FakeAggregator::For(const std::string& site) const {
  Situation situation;
  situation.number = number_;
  if (model_ == nullptr) return situation;
  situation.phase = ended_ ? Phase::kEnded : Phase::kCollect;
  situation.end = ended_ ? EndState::kFinished : EndState::kRunning;
  situation.version = model_->version();
  situation.model_digest = model_->digest();
  const size_t first =
      published_.size() - std::min(published_.size(), static_cast<size_t>(options_.recent));
  for (size_t i = first; i < published_.size(); ++i) {
    situation.recent.push_back(published_[i]);
    const auto in = in_round_.find(published_[i].round);
    situation.recent.back().counted = in != in_round_.end() && in->second.contains(site);
  }
  situation.snapshot = snapshot_;
  situation.snapshot_version = snapshot_version_;
  if (!ended_)
    situation.plan = {.round = round_,
                      .base_version = model_->version(),
                      .base_digest = model_->digest(),
                      .selected = true,
                      .seconds_left = 100};
  situation.committed = committed_.contains(site);
  if (options_.tamper) options_.tamper(site, situation);
  return situation;
}

void FakeAggregator::Tell() {
  ++number_;
  for (const auto& [id, watcher] : watchers_) watcher.changed(For(watcher.site));
}

absl::StatusOr<CommitReply> FakeAggregator::Commit(const Caller& caller,
                                                   const CommitRequest& request) {
  MutexLock lock(mutex_);
  if (ended_ || request.round != round_)
    return CommitReply{.counted = false, .reason = "the round is over"};
  if (request.base_digest != model_->digest())
    return absl::InvalidArgumentError("trained on another model");
  if (!store_->Has(request.update)) return absl::NotFoundError("no such upload");
  const auto [entry, is_new] = committed_.try_emplace(caller.site, request.update);
  if (entry->second != request.update) {
    ++conflicts_;
    return absl::FailedPreconditionError("another update of this round is here");
  }
  if (!is_new) return CommitReply{.counted = true};
  if (static_cast<int>(committed_.size()) == options_.sites) {
    Publish();
  }
  Tell();
  return CommitReply{.counted = true};
}

void FakeAggregator::Publish() {
  std::vector<std::string> sites;
  IntegerVector sum(model_->modulus_bits(), model_->values());
  for (const auto& [site, update] : committed_) {
    const absl::StatusOr<std::string> bytes = GetBlob(*store_, update);
    DS_CHECK(bytes.ok());
    absl::StatusOr<IntegerVector> levels = Unpack(
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes->data()), bytes->size()),
        model_->update_bits(), model_->values());
    DS_CHECK(levels.ok()) << levels.status();
    sum.Add(levels->Widen(model_->modulus_bits()));
    ++counted_[site];
    in_round_[round_].insert(site);
  }
  const auto sites_in = static_cast<int64_t>(committed_.size());
  Published published;
  published.version = model_->version() + 1;
  published.groups.push_back({.base_version = model_->version(),
                              .divisor = sites_in,
                              .updates = sites_in,
                              .sum = std::move(sum)});
  const absl::Status advanced = model_->Advance(published, nullptr, nullptr);
  DS_CHECK(advanced.ok()) << advanced;
  const std::string bytes = published.Encode();
  absl::StatusOr<std::string> blob = PutBlob(
      *store_, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  DS_CHECK(blob.ok());
  published_.push_back({model_->version(), *blob, model_->digest(), round_});
  if (options_.snapshot_every > 0 && model_->version() % options_.snapshot_every == 0) {
    const std::string path = absl::StrCat(options_.snapshot_dir, "/snapshot");
    DS_CHECK(model_->Save(path).ok());
    const absl::StatusOr<std::string> file = ReadFile(path);
    DS_CHECK(file.ok());
    absl::StatusOr<std::string> snapshot = PutBlob(
        *store_,
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(file->data()), file->size()));
    DS_CHECK(snapshot.ok());
    snapshot_ = *snapshot;
    snapshot_version_ = model_->version();
  }
  committed_.clear();
  ++round_;
  ended_ = model_->version() >= options_.offer.options.round.rounds;
}

void FakeAggregator::Abandon() {
  MutexLock lock(mutex_);
  committed_.clear();
  ++round_;
  Tell();
}

void FakeAggregator::CloseRound() {
  MutexLock lock(mutex_);
  Publish();
  Tell();
}

absl::StatusOr<int64_t> FakeAggregator::UploadStatus(const Caller&, const std::string& digest,
                                                     int64_t size) {
  MutexLock lock(mutex_);
  if (store_->Has(digest)) return size;
  return static_cast<int64_t>(arriving_[digest].size());
}

absl::Status FakeAggregator::Upload(const Caller&, const std::string& digest, int64_t size,
                                    int64_t offset, absl::Span<const std::byte> bytes) {
  MutexLock lock(mutex_);
  uploaded_bytes_ += static_cast<int64_t>(bytes.size());
  if (store_->Has(digest)) return absl::OkStatus();
  std::string& there = arriving_[digest];
  if (offset > static_cast<int64_t>(there.size())) return absl::DataLossError("a gap");
  there.resize(static_cast<size_t>(offset));
  there.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (static_cast<int64_t>(there.size()) < size) return absl::OkStatus();
  const std::string whole = std::exchange(there, std::string());
  if (Sha256Hex(whole) != digest) return absl::DataLossError("not what its digest says");
  ++updates_;
  return PutBlob(*store_, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(whole.data()),
                                              whole.size()))
      .status();
}

absl::StatusOr<std::shared_ptr<BlobReader>> FakeAggregator::Download(const Caller&,
                                                                     const std::string& digest) {
  MutexLock lock(mutex_);
  return store_->Read(digest);
}

std::string FakeAggregator::digest() const {
  MutexLock lock(mutex_);
  return model_ == nullptr ? "" : model_->digest();
}
std::vector<float> FakeAggregator::weights() const {
  MutexLock lock(mutex_);
  return {model_->weights().begin(), model_->weights().end()};
}
int64_t FakeAggregator::version() const {
  MutexLock lock(mutex_);
  return model_ == nullptr ? 0 : model_->version();
}
int64_t FakeAggregator::round() const {
  MutexLock lock(mutex_);
  return round_;
}
int FakeAggregator::committed() const {
  MutexLock lock(mutex_);
  return static_cast<int>(committed_.size());
}
std::map<std::string, int> FakeAggregator::counted() const {
  MutexLock lock(mutex_);
  return counted_;
}
int FakeAggregator::conflicts() const {
  MutexLock lock(mutex_);
  return conflicts_;
}
int FakeAggregator::updates() const {
  MutexLock lock(mutex_);
  return updates_;
}
int64_t FakeAggregator::uploaded_bytes() const {
  MutexLock lock(mutex_);
  return uploaded_bytes_;
}

}  // namespace ds::federated
