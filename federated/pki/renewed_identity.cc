#include "federated/pki/renewed_identity.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/status.h"
#include "federated/pki/file_watch.h"

namespace ds::federated {
namespace {

class RenewedIdentity final : public SiteIdentity {
 public:
  RenewedIdentity(const std::string& path, IdentityOptions options)
      : options_(std::move(options)), watch_(path) {}

  absl::Status Open() {
    MutexLock lock(mutex_);
    watch_.Changed();
    return Read();
  }

  const std::string& site() const override { return Now().site(); }
  const std::string& certificate() const override {
    MutexLock lock(mutex_);
    if (watch_.Changed()) {
      const absl::Status read = Read();
      if (!read.ok()) {
        Log(LogLevel::kWarning,
            absl::StrCat("the site's identity stays as it was: ", read.message()));
      }
    }
    return identities_.back()->certificate();
  }
  absl::StatusOr<std::string> Sign(absl::string_view message) const override {
    return Now().Sign(message);
  }
  absl::Status Verify(const std::string& site, const std::string& certificate,
                      absl::string_view message, absl::string_view signature) const override {
    return Now().Verify(site, certificate, message, signature);
  }

 private:
  const FileSiteIdentity& Now() const {
    MutexLock lock(mutex_);
    return *identities_.back();
  }
  absl::Status Read() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<FileSiteIdentity> identity,
                        FileSiteIdentity::Open(watch_.path(), options_));
    identities_.push_back(std::move(identity));
    return absl::OkStatus();
  }

  const IdentityOptions options_;
  mutable Mutex mutex_;
  mutable FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  // All of them: references to their texts are out, and a renewal is rare.
  mutable std::vector<std::unique_ptr<FileSiteIdentity>> identities_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<SiteIdentity>> FollowIdentity(const std::string& path,
                                                             const IdentityOptions& options) {
  auto identity = std::make_unique<RenewedIdentity>(path, options);
  DS_RETURN_IF_ERROR(identity->Open());
  return identity;
}

}  // namespace ds::federated
