// A party's identity in one file: its private key, its certificate and the authority's, PEM. One
// file, so that renewal replaces key and certificate in one step; 0600, since the key is in it.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/pki/certificate.h"
#include "federated/pki/wall_time.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// All PEM.
struct Credentials {
  std::string certificate;  // own
  std::string key;          // its private key
  std::string authority;    // certificate of whom all parties trust
  // What TLS sends: a new site finds the authority's certificate in it, and checks its fingerprint.
  std::string Chain() const { return certificate + authority; }
};

// InvalidArgument: a part is missing, or the key is another certificate's.
absl::StatusOr<Credentials> ReadCredentials(const std::string& path);
absl::StatusOr<Credentials> ParseCredentials(absl::string_view text);
absl::Status WriteCredentials(const std::string& path, const Credentials& credentials);

struct IdentityOptions {
  WallClock clock = MachineClock();
  // Is this serial number revoked? Only the aggregator knows (RevocationList); unset: none is.
  std::function<bool(const std::string& serial)> is_revoked;
};

// As it was in the file when it was opened: a renewal makes no difference to it, and signatures of
// one secure set-up are all of one key. Thread-safe.
class FileSiteIdentity : public SiteIdentity {
 public:
  // Of a site, or of the aggregator, who only verifies. PermissionDenied: not in force, or not this
  // authority's.
  static absl::StatusOr<std::unique_ptr<FileSiteIdentity>> Open(
      const std::string& path, const IdentityOptions& options = {});
  static absl::StatusOr<std::unique_ptr<FileSiteIdentity>> Create(
      const Credentials& credentials, const IdentityOptions& options = {});

  virtual const CertificateFacts& facts() const = 0;
  // Whose connection it is: `certificate` (PEM) is what the handshake has verified; looked at again
  // here, since it may have expired or been revoked while the connection lasted. PermissionDenied.
  virtual absl::StatusOr<Caller> Identify(const std::string& certificate) const = 0;
};

}  // namespace ds::federated
