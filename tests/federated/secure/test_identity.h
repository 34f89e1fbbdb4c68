// A made-up authority and its sites for tests: a certificate is a line of text, a signature a keyed
// hash whose key only the double knows. As strict as a real one about who signed what, and fast.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/mutex.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// What all sites of one test share.
class TestAuthority {
 public:
  explicit TestAuthority(std::string name = "authority") : name_(std::move(name)) {}
  std::string Certificate(const std::string& site) const {
    return absl::StrCat("test certificate of ", site, " by ", name_);
  }
  std::string Signature(const std::string& site, absl::string_view message) const {
    return Sha256Hex(absl::StrCat(name_, "/", site, "/", message));
  }
  void Revoke(const std::string& site) {
    MutexLock lock(mutex_);
    revoked_.insert(site);
  }
  bool IsRevoked(const std::string& site) const {
    MutexLock lock(mutex_);
    return revoked_.contains(site);
  }

 private:
  const std::string name_;
  mutable Mutex mutex_;
  std::set<std::string> revoked_ ABSL_GUARDED_BY(mutex_);
};

class TestIdentity : public SiteIdentity {
 public:
  TestIdentity(std::string site, std::shared_ptr<const TestAuthority> authority)
      : site_(std::move(site)),
        certificate_(authority->Certificate(site_)),
        authority_(std::move(authority)) {}

  const std::string& site() const override { return site_; }
  const std::string& certificate() const override { return certificate_; }
  absl::StatusOr<std::string> Sign(absl::string_view message) const override {
    return authority_->Signature(site_, message);
  }
  absl::Status Verify(const std::string& site, const std::string& certificate,
                      absl::string_view message, absl::string_view signature) const override {
    if (certificate != authority_->Certificate(site))
      return absl::PermissionDeniedError(absl::StrCat("not a certificate of ", site));
    if (authority_->IsRevoked(site))
      return absl::PermissionDeniedError(absl::StrCat("the certificate of ", site, " is revoked"));
    if (signature != authority_->Signature(site, message))
      return absl::PermissionDeniedError(absl::StrCat("not a signature of ", site));
    return absl::OkStatus();
  }

 private:
  const std::string site_, certificate_;
  const std::shared_ptr<const TestAuthority> authority_;
};

}  // namespace ds::federated
