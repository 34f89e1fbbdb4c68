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

// One epoch.
class SecureServer {
 public:
  // `identity` only verifies. `sites`: who was asked for keys.
  static absl::StatusOr<std::unique_ptr<SecureServer>> Create(
      const SecureOptions& options, const std::string& run, int64_t epoch,
      std::vector<std::string> sites, std::shared_ptr<const SiteIdentity> identity);
  virtual ~SecureServer() = default;

  virtual absl::Status AddKeys(const std::string& site, absl::string_view payload) = 0;
  // Closes the keys: those who gave them are the roster. The bytes that every one of them gets.
  // FailedPrecondition where they are fewer than the threshold needs.
  virtual absl::StatusOr<std::string> CloseKeys() = 0;
  virtual absl::Status AddShares(const std::string& site, absl::string_view payload) = 0;
  // Closes the shares: those who gave them are the epoch's participants.
  virtual absl::Status CloseShares() = 0;
  virtual absl::StatusOr<std::string> Inbox(const std::string& site) const = 0;
  virtual const std::vector<std::string>& participants() const = 0;
  virtual int64_t threshold() const = 0;

  // One round. FailedPrecondition for fewer survivors than the threshold, and for a set that
  // refuse_close_sets forbids. `warning`: a set close to an earlier one, named; empty: none.
  virtual absl::StatusOr<std::string> Survivors(const SecureRound& round,
                                                const std::vector<std::string>& sites,
                                                std::string* warning) = 0;
  virtual absl::Status AddEcho(const SecureRound& round, const std::string& site,
                               absl::string_view payload) = 0;
  // strict: Survivors' bytes with all echoes, once all survivors (or the threshold) have echoed.
  virtual absl::StatusOr<std::string> SurvivorsWithEchoes(const SecureRound& round) const = 0;
  virtual absl::Status AddAnswer(const SecureRound& round, const std::string& site,
                                 absl::string_view payload) = 0;
  virtual int64_t answers(const SecureRound& round) const = 0;
  // Takes the masks out of the survivors' sum: threshold() answers are needed.
  virtual absl::Status Unmask(const SecureRound& round, IntegerVector& sum) const = 0;
};

}  // namespace ds::federated
