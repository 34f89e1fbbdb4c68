// A site's side of secure aggregation (Bonawitz et al., CCS 2017, with keys made in batches): pure
// but for its vault, knows no transport. docs/federated-security.md has the protocol, its messages
// byte by byte and what is refused.
//
// An epoch is one set-up for `rounds` rounds on a fixed roster:
//   OfferKeys → (the aggregator puts all sites' keys together) → SealShares → (each site's inbox) →
//   OpenInbox; then for each round Mask → upload → (survivors) → AnswerUnmask.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/options.h"
#include "federated/update/integers.h"

namespace ds::federated {

// The site's certificate and its key, which never leaves it; and how others' are verified.
class SiteIdentity {
 public:
  virtual ~SiteIdentity() = default;
  virtual const std::string& site() const = 0;
  virtual const std::string& certificate() const = 0;  // PEM
  virtual absl::StatusOr<std::string> Sign(absl::string_view message) const = 0;
  // `certificate` (PEM) is the authority's, in force, of role "site" and of `site`, and `signature`
  // is its key's over `message`. PermissionDenied says which of it is not so.
  virtual absl::Status Verify(const std::string& site, const std::string& certificate,
                              absl::string_view message, absl::string_view signature) const = 0;
};

// What lasts at a site: small values by name, each durable when Put returns. A counter in it shows
// a disk that was rolled back.
class Vault {
 public:
  virtual ~Vault() = default;
  virtual absl::Status Put(const std::string& name, absl::string_view value) = 0;
  virtual absl::StatusOr<std::string> Get(const std::string& name) const = 0;  // NotFound
  virtual absl::Status Remove(const std::string& name) = 0;
  virtual absl::StatusOr<std::vector<std::string>> Names() const = 0;
};

// All that a round's masks are bound to.
struct SecureRound {
  std::string run;
  int64_t epoch = 0;
  int64_t index = 0;  // of the epoch's rounds, 0..rounds-1
  int64_t round = 0;
  std::string base_digest;  // of the model that was trained
  int bits = 0;             // modulus
  int64_t values = 0;
};

// What the site itself insists on, whatever the aggregator says.
struct SecureFloors {
  int64_t sites = 3;  // in the roster, at least
  int64_t threshold = 2;
};

class SecureAgent {
 public:
  static absl::StatusOr<std::unique_ptr<SecureAgent>> Open(
      const SecureOptions& options, const SecureFloors& floors, const std::string& run,
      std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<Vault> vault);
  virtual ~SecureAgent() = default;

  // The payloads that the aggregator is given (SecureStep) for what it said (Situation's
  // secure_payload). Each is made once and the same bytes are returned again afterwards. A
  // PermissionDenied names what the aggregator did wrong; the run must then be left.
  virtual absl::StatusOr<std::string> OfferKeys(int64_t epoch) = 0;
  virtual absl::StatusOr<std::string> SealShares(int64_t epoch, absl::string_view roster) = 0;
  virtual absl::Status OpenInbox(int64_t epoch, absl::string_view inbox) = 0;
  virtual bool Ready(int64_t epoch) const = 0;
  // Adds the round's masks, once: the masked values are in the vault when it returns, and another
  // update for the same round or index is refused; the same update again gives the same bytes.
  virtual absl::StatusOr<IntegerVector> Mask(const SecureRound& round,
                                             const IntegerVector& values) = 0;
  // strict: the signed echo of the survivors, before any share leaves; else unused.
  virtual absl::StatusOr<std::string> Echo(const SecureRound& round,
                                           absl::string_view survivors) = 0;
  // Answers one survivors' list, once. `survivors`: SecureServer::Survivors' bytes (strict: with
  // all echoes).
  virtual absl::StatusOr<std::string> AnswerUnmask(const SecureRound& round,
                                                   absl::string_view survivors) = 0;
  // For CommitRequest::secure_notes: hashes of the survivors that this site has answered for.
  virtual std::vector<std::string> Notes() const = 0;
  // Hears the notes of all (in the next round's payload): PermissionDenied on a mismatch.
  // Old rounds' secrets are dropped.
  virtual absl::Status ForgetBefore(int64_t round) = 0;
};

}  // namespace ds::federated
