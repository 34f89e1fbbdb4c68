// The authority of a federation, in a folder: it says who is which site. Its key signs
// certificates; tokens, certificates and revocations are records beside it, each durable before
// anybody is told. Several processes may use one folder (ds_pki beside a running aggregator).
// docs/federated-pki.md has the files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/pki/enrolment.h"
#include "federated/pki/wall_time.h"

namespace ds::federated {

struct AuthorityOptions {
  absl::Duration certificate_life = absl::Hours(24 * 90);  // of sites and operators
  absl::Duration server_life = absl::Hours(24 * 365);
  absl::Duration authority_life = absl::Hours(24 * 3650);
  WallClock clock = MachineClock();
};

struct IssuedCertificate {
  std::string site, role, serial;
  absl::Time not_before, not_after;
  bool revoked = false;
};

struct IssuedToken {
  std::string id, site, role;
  absl::Time expires;
  bool used = false;
};

// Thread-safe.
class Authority : public EnrolmentService {
 public:
  // A new key and certificate for an authority of `name`, in a folder that holds none yet
  // (AlreadyExists).
  static absl::StatusOr<std::unique_ptr<Authority>> Make(const std::string& folder,
                                                         const std::string& name,
                                                         const AuthorityOptions& options = {});
  // NotFound: there is none; InvalidArgument: its files do not fit together.
  static absl::StatusOr<std::unique_ptr<Authority>> Open(const std::string& folder,
                                                         const AuthorityOptions& options = {});

  virtual const std::string& certificate() const = 0;  // PEM
  virtual const std::string& fingerprint() const = 0;  // SHA-256, 64 hexadecimal digits

  // The text of a new token that makes one certificate for `site` ("site" or "operator" by `role`),
  // within `valid_for`. It is known from here on only to the caller.
  virtual absl::StatusOr<std::string> IssueToken(const std::string& site, const std::string& role,
                                                 absl::Duration valid_for) = 0;
  // A new key and certificate of the aggregator's, for the names and addresses by which the sites
  // call it: written to ServerFile(folder). Empty `hosts`: those of the file that is there. A
  // running aggregator takes it over.
  virtual absl::Status IssueServer(const std::string& name,
                                   const std::vector<std::string>& hosts) = 0;

  // By serial number: the certificate and all that renew it. By name: all of the site's, and its
  // unused tokens. The serials that were in force until now. NotFound: neither is known.
  virtual absl::StatusOr<std::vector<std::string>> Revoke(const std::string& site_or_serial) = 0;

  virtual absl::StatusOr<std::vector<IssuedCertificate>> Certificates() const = 0;
  virtual absl::StatusOr<std::vector<IssuedToken>> Tokens() const = 0;
};

// In an authority's folder: the server's identity (identity.h), and the list for RevocationList.
std::string ServerFile(const std::string& folder);
std::string RevocationFile(const std::string& folder);

}  // namespace ds::federated
