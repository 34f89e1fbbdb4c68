// The run's state and what happens to it, on one thread (TurnLoop): everything that is decided here
// becomes records, which are durable before anyone hears of it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "federated/aggregator/aggregator.h"
#include "federated/aggregator/blobs/blob_shelf.h"
#include "federated/aggregator/blobs/uploads.h"
#include "federated/aggregator/model_work.h"
#include "federated/aggregator/publications.h"
#include "federated/aggregator/reports.h"
#include "federated/aggregator/secure_epochs.h"
#include "federated/aggregator/turn_loop.h"
#include "federated/aggregator/watchers.h"
#include "federated/aggregator/worker.h"
#include "federated/privacy/ledger.h"
#include "federated/round/round_machine.h"

namespace ds::federated {

class RunCore {
 public:
  RunCore(AggregatorOptions options, std::shared_ptr<Store> store);
  ~RunCore();

  // Reads the log, or begins it, then lets the loop go. Once.
  absl::Status Open();

  const AggregatorOptions& options() const { return options_; }
  const RunOffer& offer() const { return machine_.offer(); }  // fixed once open
  // Ends both threads; callers get Unavailable from then on.
  void Close();
  // An update's blob must have the size that it has, and no bits behind its last value. Any thread.
  absl::Status CheckUpdate(const BlobRef& upload);
  Store& store() { return *store_; }
  BlobShelf& shelf() { return *shelf_; }
  Uploads& uploads() { return uploads_; }
  TurnLoop& loop() { return *loop_; }
  void At(absl::string_view boundary) const {
    if (options_.boundary != nullptr) options_.boundary(boundary);
  }
  // Has a site asked for something that cannot be? Counted, and handed on. Any thread.
  absl::Status Refused(const std::string& site, absl::Status status);
  // What a site may fetch beside its own secure payload. Any thread.
  bool MayDownload(const std::string& site, const std::string& digest);
  void CountDownload(const std::string& site, int64_t bytes);
  absl::StatusOr<RunEnded> WaitForEnd(absl::Duration patience);

  // On the loop's thread only.
  absl::Status Join(const std::string& site, int64_t samples, JoinReply* reply);
  // `upload`: the whole update, or why it is not there.
  absl::Status Commit(const std::string& site, const CommitRequest& request,
                      const absl::StatusOr<BlobRef>& upload, CommitReply* reply);
  absl::Status Give(SecureGiven given);
  absl::Status Stop(const std::string& reason);
  void Watch(const std::string& site, bool is_site, std::shared_ptr<Watcher> watcher);
  void Unwatch(const std::string& site, const std::shared_ptr<Watcher>& watcher);
  // A blob that was made for a record, unless there is one that needs it: the record did not come
  // to be, or what it would have said came too late.
  void Discard(const BlobRef& blob);
  RunReport Report();

 private:
  absl::Status Replay();
  absl::Status ReplayEntry(int64_t number, absl::string_view text, RunOffer& found);
  absl::Status FindOrphans();
  TurnLoop::Steps Steps();

  // Into the machine and the turn's records. The record can follow.
  void Add(Record record);
  // Once work_ has the model, which no other thread changes meanwhile.
  absl::StatusOr<Charge> AskLedger(int64_t round, int64_t updates) const;
  void AddPublished(RoundPublished published, absl::StatusOr<Charge> charge);
  double Epsilon() const { return ledger_ ? ledger_->epsilon() : 0; }
  std::optional<Record> OverBudget(const Record& record) const;
  // What Decide wants, or what must be instead.
  Record Vetted(Record record);
  absl::Duration Decide();
  absl::Status CommitTurn();
  void Effects();
  void EffectOf(const Record& record);
  void FreeBlobs();
  void StartFix();
  void StartPublish();
  void StartSnapshot();
  void Tell();
  void NamePublicBlobs() ABSL_LOCKS_EXCLUDED(mutex_);
  void Warn(std::string text);
  absl::Status CheckBase(const CommitRequest& request, UpdateCommitted* record,
                         CommitReply* reply) const;
  int64_t MaximumSites() const;
  void SetUpdateSize();
  bool IsLate(const SecureGiven& given) const;
  void Touch(const Record& record);

  const AggregatorOptions options_;
  const std::shared_ptr<Store> store_;
  const std::shared_ptr<BlobShelf> shelf_;
  Uploads uploads_;
  RoundMachine machine_;
  Publications publications_;
  std::unique_ptr<SecureEpochs> secure_;  // null: in the open
  std::optional<Ledger> ledger_;          // none: no privacy.mechanism
  ModelWork work_;                        // the worker's, once the loop goes
  Reports reports_;
  Watchers watchers_;
  std::set<std::string> present_;
  std::vector<Record> turn_;
  std::set<std::string> touched_;  // sites whose situation may have changed
  bool all_touched_ = false;
  bool fixing_ = false, publishing_ = false, snapshotting_ = false, ended_told_ = false;
  int64_t snapshot_tried_ = 0;        // version of the last snapshot, made or not
  std::vector<std::string> orphans_;  // blobs that no record named when the log was read

  Mutex mutex_;
  CondVar ended_changed_;
  std::set<std::string> public_blobs_ ABSL_GUARDED_BY(mutex_);
  // What a site is asked to answer, and was before: it may be fetching that still.
  struct Payloads {
    std::string now, before;
  };
  std::map<std::string, Payloads> payloads_of_ ABSL_GUARDED_BY(mutex_);
  int64_t update_values_ ABSL_GUARDED_BY(mutex_) = 0;
  int update_bits_ ABSL_GUARDED_BY(mutex_) = 0;
  std::optional<RunEnded> ended_ ABSL_GUARDED_BY(mutex_);

  // Last: they stop first.
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<TurnLoop> loop_;
};

}  // namespace ds::federated
