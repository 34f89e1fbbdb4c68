// Secure aggregation as the aggregator runs it: hands each record to the epoch's SecureServer,
// which checks it before it counts, and knows which payload each site is asked to answer now. The
// same calls in the same order rebuild it from the log.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "federated/aggregator/blobs/blob_shelf.h"
#include "federated/round/round_machine.h"
#include "federated/secure/secure_server.h"

namespace ds::federated {

// Who is asked for something: `epoch` -1 for nothing; an empty payload asks for keys.
struct SecureAsking {
  int64_t epoch = -1;
  std::string payload;  // digest
};

// The aggregator's own thread only, but for Unmask.
class SecureEpochs {
 public:
  SecureEpochs(std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<const Store> store,
               std::shared_ptr<BlobShelf> shelf);

  // Before the machine applies the record; an error means that it must not. Fills in what the
  // server decides: KeysClosed's threshold, SharesClosed's sites.
  absl::Status Take(Record& record, const RoundMachine& machine, bool replaying);

  // After AddShares or AddAnswer of the last Take.
  bool AsksSharesAgain(const RoundMachine& machine) const;
  bool Answered() const;
  // In the set-up under way.
  std::vector<std::string> Awaited() const;
  // Whose shares cannot take the present round's masks out, though enough sites have answered.
  std::vector<std::string> Blamed() const { return server_->Blamed(round_); }
  // Of the last survivors; empty: none.
  const std::string& warning() const { return warning_; }

  SecureAsking AskOf(const std::string& site, const RoundMachine& machine) const;

  // For the worker: takes the masks of the round out of `sum`. No record of the round may be taken
  // meanwhile.
  absl::Status Unmask(IntegerVector& sum) const;

 private:
  absl::Status TakeGiven(const SecureGiven& given);
  absl::Status TakeSurvivors(const SurvivorsFixed& fixed);
  void SetPayload(std::string& digest, std::string bytes);
  void DropInboxes();

  const std::shared_ptr<const SiteIdentity> identity_;
  const std::shared_ptr<const Store> store_;
  const std::shared_ptr<BlobShelf> shelf_;
  std::shared_ptr<SecureHistory> history_;
  std::shared_ptr<SecureServer> server_;
  SecureRound round_;
  std::string request_, survivors_;  // digests
  std::map<std::string, std::string> inboxes_;
  std::string warning_;
};

}  // namespace ds::federated
