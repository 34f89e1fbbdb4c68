// An authority in a folder of the test's own, a clock that the test sets, and sites that enrol.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/check.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"
#include "federated/pki/site_files.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

class PkiTest : public ::testing::Test {
 public:
  template <typename T>
  static T Must(absl::StatusOr<T> value) {
    DS_CHECK(value.ok()) << value.status();
    return *std::move(value);
  }

 protected:
  PkiTest() : authority_(MakeAuthority("authority")) {}

  WallClock Clock() const {
    return [this] { return now_; };
  }
  AuthorityOptions Options() const { return {.clock = Clock()}; }
  std::unique_ptr<Authority> MakeAuthority(const std::string& folder) {
    return Must(Authority::Make(folder_.File(folder), "test-federation", Options()));
  }
  std::string Token(const std::string& site, const std::string& role = kSiteRole,
                    absl::Duration valid_for = absl::Hours(24)) {
    return Must(authority_->IssueToken(site, role, valid_for));
  }
  std::string SiteFolder(const std::string& site) const { return folder_.File("sites/" + site); }
  // The whole way of a new site; its folder is SiteFolder(site).
  absl::Status Enrol(const std::string& site, const std::string& role = kSiteRole) {
    return EnrolSite(
        SiteFolder(site), Token(site, role), site, role,
        [this](const EnrolRequest& request) { return authority_->Enrol(request); }, Clock());
  }
  Credentials Enrolled(const std::string& site, const std::string& role = kSiteRole) {
    const absl::Status enrolled = Enrol(site, role);
    DS_CHECK(enrolled.ok()) << enrolled;
    return Must(ReadCredentials(IdentityFile(SiteFolder(site))));
  }
  std::unique_ptr<FileSiteIdentity> Identity(const Credentials& credentials) {
    return Must(FileSiteIdentity::Create(credentials, {.clock = Clock()}));
  }

  const TempFolder folder_;
  // Whole seconds, as certificates have them; near the machine's date, for the openssl command.
  absl::Time now_ = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  std::unique_ptr<Authority> authority_;
};

}  // namespace ds::federated
