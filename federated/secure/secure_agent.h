// A site's side of secure aggregation (Bonawitz et al., CCS 2017, with keys made in batches): pure
// but for its vault, knows no transport. docs/federated-security.md has the protocol, its messages
// byte by byte and what is refused.
//
// An epoch is one set-up for `rounds` rounds on a fixed roster:
//   OfferKeys → (the aggregator puts all sites' keys together) → SealShares → (each site's inbox) →
//   OpenInbox; then for each round Mask → upload → (survivors) → AnswerUnmask.
// WhatIsAsked tells the aggregator's messages apart, so that a site needs no phase to know which
// call is due.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "federated/options/options.h"
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

struct VaultValue {
  std::string name;
  absl::string_view value;
};

// What lasts at a site: small values by name, each durable when Put returns.
class Vault {
 public:
  virtual ~Vault() = default;
  virtual absl::Status Put(const std::string& name, absl::string_view value) = 0;
  // In their order: whoever finds a later one finds those before it, whatever was cut off. An error
  // may leave the first ones put. A vault on a disk waits for it once.
  virtual absl::Status PutAll(absl::Span<const VaultValue> values) {
    for (const VaultValue& one : values) {
      if (absl::Status status = Put(one.name, one.value); !status.ok()) return status;
    }
    return absl::OkStatus();
  }
  // NotFound; DataLoss where what is there is not what was put under that name.
  virtual absl::StatusOr<std::string> Get(const std::string& name) const = 0;
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
  int64_t colluders = 1;         // 2t > N + this, even where the offer says fewer
  bool strict = false;           // no share leaves before the others' signed echoes are there
  int64_t least_difference = 0;  // survivor sets that differ from an earlier one by so few sites
                                 // are not answered; 0: as the offer says
};

// What a payload from the aggregator (Situation::secure_payload) asks a site for.
enum class SecureAsk {
  kShares,  // SealShares, sent with SecureStep::kShares
  kInbox,   // OpenInbox, nothing is sent
  kEcho,    // strict: Echo, sent with SecureStep::kEcho
  kAnswer,  // AnswerUnmask, sent with SecureStep::kAnswer
};
struct SecureAsked {
  SecureAsk ask = SecureAsk::kShares;
  int64_t epoch = -1;
  int64_t round = -1;  // kEcho, kAnswer
  int64_t index = -1;  // kEcho, kAnswer: of the epoch's rounds
};
// DataLoss for what is none of them. An empty payload with an epoch set asks for OfferKeys. In mode
// "strict" survivors without echoes ask for kEcho, else for kAnswer.
absl::StatusOr<SecureAsked> WhatIsAsked(const SecureOptions& options, absl::string_view payload);

// Thread-safe. Errors: PermissionDenied names what the aggregator did wrong: the run must be left.
// DataLoss: the vault is damaged or was put back to an earlier state: the run must be left too.
// FailedPrecondition: not now, or not any more; the site stays in the run. InvalidArgument: the
// caller's mistake.
class SecureAgent {
 public:
  // Goes on where the vault left off. InvalidArgument where the floors and the offer exclude each
  // other; FailedPrecondition for a run that EndRun has ended here.
  static absl::StatusOr<std::unique_ptr<SecureAgent>> Open(
      const SecureOptions& options, const SecureFloors& floors, const std::string& run,
      std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<Vault> vault);
  virtual ~SecureAgent() = default;

  // The payloads that the aggregator is given (SecureStep) for what it said (Situation's
  // secure_payload). Each is made once, is in the vault before it is returned, and the same bytes
  // are returned again afterwards.
  virtual absl::StatusOr<std::string> OfferKeys(int64_t epoch) = 0;
  // `asked`: the roster. From 256 sites on it is answered by this site's nonce, and the aggregator
  // then asks again with everybody's nonces, of which the neighbours follow.
  virtual absl::StatusOr<std::string> SealShares(int64_t epoch, absl::string_view asked) = 0;
  virtual absl::Status OpenInbox(int64_t epoch, absl::string_view inbox) = 0;
  virtual bool Ready(int64_t epoch) const = 0;
  // Adds the round's masks, once: the masked values are in the vault when it returns, and another
  // update for the same round or index is refused; the same update again gives the same bytes.
  // `before` is put into the vault with them, as it is and not after them: one wait for the disk.
  virtual absl::StatusOr<IntegerVector> MaskAndPut(const SecureRound& round, IntegerVector values,
                                                   absl::Span<const VaultValue> before) = 0;
  absl::StatusOr<IntegerVector> Mask(const SecureRound& round, IntegerVector values) {
    return MaskAndPut(round, std::move(values), {});
  }
  // The bytes that Mask made for the round (after a restart, whatever is trained now). NotFound
  // where there are none; FailedPrecondition once the round was answered.
  virtual absl::StatusOr<IntegerVector> Masked(int64_t round) const = 0;
  // strict: the signed echo of the survivors, before any share leaves; else unused.
  virtual absl::StatusOr<std::string> Echo(const SecureRound& round,
                                           absl::string_view survivors) = 0;
  // Answers one survivors' list, once. `survivors`: SecureServer::Survivors' bytes (strict: with
  // all echoes), which also carry the notes of all sites: a mismatch is PermissionDenied.
  // FailedPrecondition for a second round on the same model.
  virtual absl::StatusOr<std::string> AnswerUnmask(const SecureRound& round,
                                                   absl::string_view survivors) = 0;
  // For CommitRequest::secure_notes: this site's signed hash of the survivors that it answered for
  // last, as text. A commit without it is refused, and one list that was not everybody's is found.
  virtual std::vector<std::string> Notes() const = 0;
  // To be asked whenever the aggregator says that this site's update of `round` counts
  // (Situation::committed): DataLoss where the vault knows of no such update, so that the disk was
  // put back to an earlier state.
  virtual absl::Status CheckCommitted(int64_t round) const = 0;
  // What people should know and nobody is stopped for (survivor sets close to earlier ones, sites
  // whose shares did not open), since the last call.
  virtual std::vector<std::string> TakeWarnings() = 0;
  // Secrets and masked values of rounds before this one are dropped; that they were used is not.
  virtual absl::Status ForgetBefore(int64_t round) = 0;
  // Drops all of the run but the mark that it has ended.
  virtual absl::Status EndRun() = 0;
};

}  // namespace ds::federated
