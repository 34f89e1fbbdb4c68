// The aggregator's side of secure aggregation: collects, forwards, unmasks. Pure: what it was given
// is logged by its caller, who gives it again after a restart, in the same order. All payloads are
// checked before they count; an InvalidArgument or PermissionDenied names the site and what was
// wrong, and changes nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/secure/secure_agent.h"
#include "federated/update/integers.h"

namespace ds::federated {

// t for N sites and c colluders: the least with 2t > N + c. InvalidArgument with the arithmetic
// where it is above N.
absl::StatusOr<int64_t> LeastThreshold(int64_t sites, int64_t colluders);

// The run's rounds as all its epochs' servers know them: one object for the run, given to each.
class SecureHistory {
 public:
  static std::shared_ptr<SecureHistory> Create();
  virtual ~SecureHistory() = default;
};

// One epoch. Not thread-safe.
class SecureServer {
 public:
  // `identity` only verifies. `sites`: who was asked for keys. InvalidArgument where the options
  // cannot hold (LeastThreshold).
  static absl::StatusOr<std::unique_ptr<SecureServer>> Create(
      const SecureOptions& options, const std::string& run, int64_t epoch,
      std::vector<std::string> sites, std::shared_ptr<const SiteIdentity> identity,
      std::shared_ptr<SecureHistory> history);
  virtual ~SecureServer() = default;

  // While the log is replayed: what comes was checked before, and certificates may have expired
  // since, so that they are not verified again.
  virtual void SetReplaying(bool replaying) = 0;

  // The same payload again is no error, another one from the same site is.
  virtual absl::Status AddKeys(const std::string& site, absl::string_view payload) = 0;
  // Closes the keys: those who gave them are the roster. The bytes that every one of them gets
  // (request()). FailedPrecondition where they are fewer than the threshold needs.
  virtual absl::StatusOr<std::string> CloseKeys() = 0;
  // What every site of the roster is asked for after CloseKeys, until CloseShares: the roster. From
  // 256 sites on it changes once all have opened their nonces, and all answer again.
  virtual const std::string& request() const = 0;
  // Who has not answered request() yet. At the deadline: CloseShares without them.
  virtual std::vector<std::string> Awaited() const = 0;
  virtual absl::Status AddShares(const std::string& site, absl::string_view payload) = 0;
  // Closes the shares: those who gave them are the epoch's participants. FailedPrecondition where
  // they are fewer than the threshold, or a nonce was not opened: a new epoch must begin, without
  // those who are named.
  virtual absl::Status CloseShares() = 0;
  virtual absl::StatusOr<std::string> Inbox(const std::string& site) const = 0;
  virtual const std::vector<std::string>& participants() const = 0;
  virtual int64_t threshold() const = 0;

  // CommitRequest::secure_notes, at every commit and before it counts; logged with the commit and
  // given again at a replay. InvalidArgument: the site answered the last round and says nothing of
  // it, or the note is forged or of another list.
  virtual absl::Status AddNotes(const std::string& site, const std::vector<std::string>& notes) = 0;

  // One round. The same sites again give the same bytes; others are FailedPrecondition, as are
  // fewer survivors than the threshold, a set that refuse_close_sets forbids, and a model that an
  // earlier round was answered for already (no site answers it twice: wait for that round's answers
  // instead of beginning another). `warning` (may be null): a set close to an earlier one, named;
  // empty: none.
  virtual absl::StatusOr<std::string> Survivors(const SecureRound& round,
                                                const std::vector<std::string>& sites,
                                                std::string* warning) = 0;
  virtual absl::Status AddEcho(const SecureRound& round, const std::string& site,
                               absl::string_view payload) = 0;
  virtual int64_t echoes(const SecureRound& round) const = 0;
  // strict: Survivors' bytes with the echoes so far. FailedPrecondition for fewer than the
  // threshold.
  virtual absl::StatusOr<std::string> SurvivorsWithEchoes(const SecureRound& round) const = 0;
  // Any participant may answer, survivor or not. Shares are checked one by one against what their
  // owner said in the set-up: InvalidArgument names a bad one, and nothing of the answer counts.
  virtual absl::Status AddAnswer(const SecureRound& round, const std::string& site,
                                 absl::string_view payload) = 0;
  virtual int64_t answers(const SecureRound& round) const = 0;
  // Enough answers are there to unmask. From 256 sites on this may take more than threshold().
  virtual bool Answered(const SecureRound& round) const = 0;
  // Takes the masks out of the survivors' sum: threshold() answers are needed
  // (FailedPrecondition). DataLoss names a site whose shares do not give the secret that it
  // committed to; see Blamed.
  virtual absl::Status Unmask(const SecureRound& round, IntegerVector& sum) const = 0;
  // Sites whose own shares keep the round from being unmasked although threshold() sites answered:
  // to be named where the round is abandoned.
  virtual std::vector<std::string> Blamed(const SecureRound& round) const = 0;
};

}  // namespace ds::federated
