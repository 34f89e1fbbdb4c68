#include "federated/jobs/site_connection.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"
#include "federated/pki/identity.h"
#include "federated/pki/renewed_identity.h"
#include "federated/pki/site_files.h"

namespace ds::federated {
namespace {

constexpr absl::Duration kRenewalPause = absl::Minutes(1);

class BareName final : public SiteIdentity {
 public:
  explicit BareName(std::string site) : site_(std::move(site)) {}
  const std::string& site() const override { return site_; }
  const std::string& certificate() const override { return none_; }
  absl::StatusOr<std::string> Sign(absl::string_view) const override { return Refusal(); }
  absl::Status Verify(const std::string&, const std::string&, absl::string_view,
                      absl::string_view) const override {
    return Refusal();
  }

 private:
  static absl::Status Refusal() {
    return absl::FailedPreconditionError(
        "secure aggregation signs with the site's certificate, and agent.insecure has none; enrol "
        "the site (ds_agent enrol), or set secure.mode to off");
  }
  const std::string site_, none_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<IdentitySource>> IdentitySource::Open(const std::string& path) {
  std::shared_ptr<IdentitySource> source(new IdentitySource(path));
  MutexLock lock(source->mutex_);
  source->watch_.Changed();
  DS_RETURN_IF_ERROR(source->Read());
  return source;
}

absl::Status IdentitySource::Read() {
  DS_ASSIGN_OR_RETURN(const Credentials credentials, ReadCredentials(watch_.path()));
  identity_ = std::make_shared<TlsIdentity>(TlsIdentity{.certificates = credentials.Chain(),
                                                        .key = credentials.key,
                                                        .authority = credentials.authority});
  return absl::OkStatus();
}

std::shared_ptr<const TlsIdentity> IdentitySource::Get() {
  MutexLock lock(mutex_);
  if (watch_.Changed()) {
    const absl::Status read = Read();
    if (!read.ok()) Log(LogLevel::kWarning, read.message());
  }
  return identity_;
}

absl::StatusOr<std::unique_ptr<RpcClient>> ConnectSite(const AgentConfig& config) {
  ConnectOptions options = {
      .address = config.aggregator, .insecure = config.insecure, .insecure_site = config.name};
  if (!config.insecure) {
    DS_ASSIGN_OR_RETURN(const std::shared_ptr<IdentitySource> source,
                        IdentitySource::Open(IdentityFile(config.identity)));
    options.identity = [source] { return source->Get(); };
  }
  return ConnectFederation(options);
}

absl::StatusOr<std::shared_ptr<const SiteIdentity>> IdentityOf(const AgentConfig& config) {
  if (config.insecure) {
    return std::shared_ptr<const SiteIdentity>(std::make_shared<BareName>(config.name));
  }
  DS_ASSIGN_OR_RETURN(std::shared_ptr<const SiteIdentity> identity,
                      FollowIdentity(IdentityFile(config.identity)));
  return identity;
}

Renewal::Renewal(std::string folder, RpcClient& client)
    : folder_(std::move(folder)), client_(client), worker_([this] { Work(); }) {}

Renewal::~Renewal() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  worker_.join();
}

void Renewal::Work() {
  MutexLock lock(mutex_);
  while (!stopping_) {
    absl::StatusOr<bool> renewed = false;
    {
      MutexUnlock unlock(mutex_);
      renewed = RenewIfDue(folder_,
                           [this](const RenewRequest& request) { return client_.Renew(request); });
    }
    if (!renewed.ok()) {
      Log(LogLevel::kWarning,
          absl::StrCat("the certificate was not renewed yet: ", renewed.status().message()));
    }
    const Deadline next = Deadline::In(kRenewalPause);
    while (!stopping_ && !next.IsPast()) changed_.WaitUntil(mutex_, next.Moment());
  }
}

}  // namespace ds::federated
