// Secure aggregation as the aggregator runs it: hands each record to its epoch's SecureServer,
// which checks it before it counts, and knows which payload each site is asked to answer now. Two
// epochs at most: the one in use, and the next one, whose set-up is made beside the rounds. The
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

// The aggregator's own thread only, but for Unmask, beside which the next epoch may go on.
class SecureEpochs {
 public:
  SecureEpochs(std::shared_ptr<const SiteIdentity> identity, std::shared_ptr<const Store> store,
               std::shared_ptr<BlobShelf> shelf);

  // Before the machine applies the record; an error means that it must not. Fills in what the
  // server decides: KeysClosed's threshold, SharesClosed's sites.
  absl::Status Take(Record& record, const RoundMachine& machine, bool replaying);

  // After the last Take of shares, or of an answer.
  bool AsksSharesAgain(int64_t epoch, const RoundMachine& machine);
  bool Answered() const;
  // Whose shares the set-up waits for; empty before its keys are closed.
  std::vector<std::string> Awaited(int64_t epoch, const RoundMachine& machine);
  // Whose shares cannot take the present round's masks out, though enough sites have answered.
  std::vector<std::string> Blamed() const { return now_.server->Blamed(round_); }
  // Of the last survivors; empty: none.
  const std::string& warning() const { return warning_; }

  SecureAsking AskOf(const std::string& site, const RoundMachine& machine) const;

  // For the worker: takes the masks of the round out of `sum`. No record of the round may be taken
  // meanwhile.
  absl::Status Unmask(IntegerVector& sum) const;

 private:
  struct Epoch {
    std::shared_ptr<SecureServer> server;
    std::string request;                         // digest
    std::map<std::string, std::string> inboxes;  // site → digest
  };

  // Where machine.SetupOf(epoch) is made.
  Epoch& EpochOf(int64_t epoch, const RoundMachine& machine);
  absl::Status TakeStarted(const SetupStarted& started, const RoundMachine& machine);
  absl::Status TakeKeysClosed(KeysClosed& closed, Epoch& epoch);
  absl::Status TakeSharesClosed(SharesClosed& closed, Epoch& epoch);
  void TakePlan(const RoundPlanned& plan, const RoundMachine& machine);
  absl::Status TakeGiven(const SecureGiven& given, SecureServer& server);
  absl::Status TakeSurvivors(const SurvivorsFixed& fixed);
  void SetPayload(std::string& digest, std::string bytes);
  void Drop(Epoch& epoch);
  SecureAsking AskOfRound(const std::string& site, const RoundMachine& machine) const;
  SecureAsking AskOfSetup(const std::string& site, const SetupState& setup,
                          const Epoch& epoch) const;

  const std::shared_ptr<const SiteIdentity> identity_;
  const std::shared_ptr<const Store> store_;
  const std::shared_ptr<BlobShelf> shelf_;
  std::shared_ptr<SecureHistory> history_;
  Epoch now_, next_;
  SecureRound round_;
  std::string survivors_;  // digest
  std::string warning_;
};

}  // namespace ds::federated
