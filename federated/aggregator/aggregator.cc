#include "federated/aggregator/aggregator.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/aggregator/run_core.h"
#include "federated/store/digest.h"
#include "federated/strategy/check_options.h"
#include "federated/wire/codec.h"

namespace ds::federated {
namespace {

// Far above what a roster of thousands of sites needs.
constexpr size_t kLargestPayload = size_t{64} << 20;

class CoreSubscription final : public Subscription {
 public:
  CoreSubscription(std::shared_ptr<RunCore> core, std::string site,
                   std::shared_ptr<Watcher> watcher)
      : core_(std::move(core)), site_(std::move(site)), watcher_(std::move(watcher)) {}
  ~CoreSubscription() override {
    watcher_->Close();
    if (const auto core = core_.lock()) {
      core->loop().Post(
          [core = core.get(), site = site_, watcher = watcher_] { core->Unwatch(site, watcher); });
    }
  }

 private:
  const std::weak_ptr<RunCore> core_;
  const std::string site_;
  const std::shared_ptr<Watcher> watcher_;
};

class AggregatorImpl final : public Aggregator {
 public:
  explicit AggregatorImpl(std::shared_ptr<RunCore> core) : core_(std::move(core)) {}
  ~AggregatorImpl() override { core_->Close(); }

  absl::StatusOr<HelloReply> Hello(const Caller& caller, const HelloRequest& request) override {
    DS_ASSIGN_OR_RETURN(const uint32_t version, NegotiateVersion(request));
    return HelloReply{.version = version,
                      .program = core_->options().program,
                      .clock_ms = Date(),
                      .offer = core_->offer()};
  }

  absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) override {
    DS_RETURN_IF_ERROR(Check(caller, request.run));
    JoinReply reply;
    DS_RETURN_IF_ERROR(
        Turn(caller, [&] { return core_->Join(caller.site, request.samples, &reply); }));
    return reply;
  }

  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) override {
    DS_RETURN_IF_ERROR(core_->loop().broken());
    auto watcher = std::make_shared<Watcher>(std::move(changed));
    core_->loop().Post([core = core_.get(), site = caller.site, is_site = caller.role == "site",
                        watcher] { core->Watch(site, is_site, watcher); });
    return std::make_unique<CoreSubscription>(core_, caller.site, std::move(watcher));
  }

  absl::StatusOr<CommitReply> Commit(const Caller& caller, const CommitRequest& request) override {
    DS_RETURN_IF_ERROR(Check(caller, request.run));
    absl::StatusOr<BlobRef> upload = core_->uploads().Find(caller.site, request.update);
    if (upload.ok()) DS_RETURN_IF_ERROR(CheckUpdate(caller, *upload));
    CommitReply reply;
    DS_RETURN_IF_ERROR(
        Turn(caller, [&] { return core_->Commit(caller.site, request, upload, &reply); }));
    return reply;
  }

  absl::StatusOr<SecureReply> Secure(const Caller& caller, const SecureRequest& request) override {
    DS_RETURN_IF_ERROR(Check(caller, request.run));
    if (request.payload.empty() || request.payload.size() > kLargestPayload) {
      return core_->Refused(caller.site, absl::InvalidArgumentError(absl::StrCat(
                                             "a payload of ", request.payload.size(), " bytes")));
    }
    SecureGiven given{request.step, request.epoch, request.round, caller.site};
    DS_ASSIGN_OR_RETURN(given.payload,
                        MakeBlob(core_->store(), request.payload, core_->options().inline_bytes));
    const BlobRef payload = given.payload;
    DS_RETURN_IF_ERROR(Turn(caller, [&] {
      const absl::Status status = core_->Give(std::move(given));
      core_->Discard(payload);  // unless a record holds it now
      return status;
    }));
    return SecureReply{};
  }

  absl::StatusOr<int64_t> UploadStatus(const Caller& caller, const std::string& digest,
                                       int64_t size) override {
    DS_RETURN_IF_ERROR(CheckUpload(caller, digest));
    auto received = core_->uploads().Received(caller.site, digest, size);
    FreeEvicted();
    if (!received.ok()) return core_->Refused(caller.site, received.status());
    return received;
  }

  absl::Status Upload(const Caller& caller, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override {
    DS_RETURN_IF_ERROR(CheckUpload(caller, digest));
    const absl::Status written = core_->uploads().Write(caller.site, digest, size, offset, bytes);
    FreeEvicted();
    return core_->Refused(caller.site, written);
  }

  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller& caller,
                                                       const std::string& digest) override {
    DS_RETURN_IF_ERROR(CheckDigest(digest));
    if (!core_->MayDownload(caller.site, digest)) {
      return absl::NotFoundError(absl::StrCat("no blob ", digest, " for site '", caller.site,
                                              "': look at the newest situation"));
    }
    DS_ASSIGN_OR_RETURN(auto reader, core_->shelf().Read(digest));
    core_->CountDownload(caller.site, reader->size());
    return reader;
  }

  absl::Status Stop(const std::string& reason) override {
    return core_->loop().Call([&] { return core_->Stop(reason); });
  }
  absl::StatusOr<RunEnded> WaitForEnd(absl::Duration patience) override {
    return core_->WaitForEnd(patience);
  }
  absl::StatusOr<RunReport> Report() override {
    RunReport report;
    DS_RETURN_IF_ERROR(core_->loop().Call([&] {
      report = core_->Report();
      return absl::OkStatus();
    }));
    return report;
  }
  const RunOffer& offer() const override { return core_->offer(); }

 private:
  int64_t Date() const {
    const auto& clock = core_->options().wall_clock;
    return clock == nullptr ? 0 : absl::ToUnixMillis(clock());
  }
  absl::Status CheckRole(const Caller& caller) const {
    if (caller.role == "site" && !caller.site.empty()) return absl::OkStatus();
    return absl::PermissionDeniedError(
        absl::StrCat("'", caller.site, "' has the role '", caller.role, "', this is for sites"));
  }
  absl::Status Check(const Caller& caller, const std::string& run) const {
    DS_RETURN_IF_ERROR(CheckRole(caller));
    if (run == core_->offer().run) return absl::OkStatus();
    return core_->Refused(caller.site,
                          absl::InvalidArgumentError(absl::StrCat("run '", run, "' is not here, '",
                                                                  core_->offer().run, "' is")));
  }
  absl::Status CheckUpload(const Caller& caller, const std::string& digest) const {
    DS_RETURN_IF_ERROR(CheckRole(caller));
    return core_->Refused(caller.site, CheckDigest(digest));
  }
  // A turn, which ends with it: who sends one upload after the other waits for that.
  void FreeEvicted() const {
    if (core_->uploads().HasEvicted())
      core_->loop().Call([] { return absl::OkStatus(); }).IgnoreError();
  }
  absl::Status CheckUpdate(const Caller& caller, const BlobRef& upload) const {
    const absl::Status sound = core_->CheckUpdate(upload);
    return core_->Refused(caller.site, sound);
  }
  absl::Status Turn(const Caller& caller, std::function<absl::Status()> work) const {
    const absl::Status status = core_->Refused(caller.site, core_->loop().Call(std::move(work)));
    core_->At("reply");
    return status;
  }

  const std::shared_ptr<RunCore> core_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Aggregator>> Aggregator::Open(AggregatorOptions options,
                                                             std::shared_ptr<Store> store) {
  DS_RETURN_IF_ERROR(CheckRunOptions(options.offer.options));
  if (options.initial == nullptr || options.snapshot_every < 1 || options.inline_bytes < 0) {
    return absl::InvalidArgumentError("the aggregator's own options are out of range");
  }
  auto core = std::make_shared<RunCore>(std::move(options), std::move(store));
  DS_RETURN_IF_ERROR(core->Open());
  return std::make_unique<AggregatorImpl>(std::move(core));
}

}  // namespace ds::federated
