// The files of an authority's folder, read and written. Only this room's sources read it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/pki/authority/records.h"

namespace ds::federated {

constexpr absl::Duration kLockPatience = absl::Seconds(10);
// How long before now certificates begin, so that a site whose clock is a little behind may use one
// at once.
constexpr absl::Duration kBackdated = absl::Minutes(5);

class AuthorityFolder {
 public:
  explicit AuthorityFolder(std::string path) : path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  std::string CertificateFile() const { return path_ + "/authority.pem"; }
  std::string KeyFile() const { return path_ + "/authority.key"; }
  std::string RevocationFile() const { return path_ + "/revoked"; }

  // NotFound where there is none. `id`, `serial`: hexadecimal, so harmless in a path.
  absl::StatusOr<TokenRecord> Token(const std::string& id) const;
  absl::StatusOr<CertificateRecord> Certificate(const std::string& serial) const;
  absl::Status Put(const std::string& id, const TokenRecord& record) const;
  absl::Status Put(const std::string& serial, const CertificateRecord& record) const;
  absl::Status RemoveToken(const std::string& id) const;
  // Sorted.
  absl::StatusOr<std::vector<std::string>> TokenIds() const;
  absl::StatusOr<std::vector<std::string>> Serials() const;

  struct Revocation {
    std::string serial, site;
  };
  // Adds lines to the list, all of them or none.
  absl::Status AddRevocations(const std::vector<Revocation>& revocations, absl::Time now) const;

  // The empty folder's parts, but for key and certificate.
  absl::Status Prepare() const;

 private:
  const std::string path_;
};

}  // namespace ds::federated
