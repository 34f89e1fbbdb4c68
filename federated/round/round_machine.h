// The rounds of a run as a state machine without clock, threads, files or network. Its state is
// what its records say: Apply is the only way to change it, so a log that is read again gives the
// same state. Decide says which record time, counts and presence ask for next.
//
//   kEmpty → kWaiting → kIdle → [kSetupKeys → kSetupShares → kIdle →] kCollect → [kEcho →]
//   [kUnmask →] kPublish → kIdle → ... → kEnded
//
// The next set-up begins beside a round whose successor needs one, while sites train: a second
// small state (next_setup) with steps and deadlines of its own, of which the round knows nothing.
// The round after it is planned on it at once. Only the first set-up, and one that could not begin
// beside a round, are stages.
//
// Asynchronous (fedbuff): kIdle → kCollect → kPublish → kIdle, and updates come in all of them.
// Every stage but kEnded ends by its deadline at the latest, but kPublish, which waits for nobody
// outside.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "federated/round/records.h"

namespace ds::federated {

enum class Stage {
  kEmpty,        // nothing yet: RunStarted
  kWaiting,      // for round.wait_for sites
  kIdle,         // between rounds
  kSetupKeys,    // each site of the set-up gives its keys
  kSetupShares,  // ... and the sealed shares
  kCollect,      // training and uploads
  kEcho,         // strict: survivors sign what they were told
  kUnmask,       // shares that take the masks out
  kPublish,      // the sum is being made
  kEnded,
};
const char* StageName(Stage stage);

// Times that are the aggregator's own affair; sites need not know them.
struct MachineLimits {
  absl::Duration first_sites = absl::Hours(24 * 7);  // for round.wait_for sites to join
  // For sites of the last round that are away at its end (after a restart of the aggregator: for
  // all that have joined) before a round is planned without them; never more than its deadline.
  absl::Duration comes_back = absl::Seconds(2);
};

struct Decision {
  std::optional<Record> record;
  // Who is in the run's first round is settled: the model is to be fixed (ModelFixed).
  bool fix_model = false;
  // Without a record: when to ask again, as SteadyTime, unless something changes before.
  absl::Duration ask_again = absl::InfiniteDuration();
};

struct HeldUpdate {
  std::string site;
  int64_t round = 0;
  int64_t base_version = 0;
  BlobRef update;
};

enum class SetupStep { kNone, kKeys, kShares, kDone };

// A set-up of secure aggregation under way, or done.
struct SetupState {
  int64_t epoch = -1;  // -1: none
  SetupStep step = SetupStep::kNone;
  std::vector<std::string> asked, roster, participants;
  std::set<std::string> left_out;  // not asked on purpose
  std::set<std::string> gave;      // in the present step
  bool asked_again = false;        // for shares
  int64_t threshold = 0;
  int64_t next_index = 0;

  bool under_way() const { return step == SetupStep::kKeys || step == SetupStep::kShares; }
};

struct RoundState {
  int64_t round = -1;  // -1: none yet
  int64_t base_version = 0;
  std::string base_digest;
  std::vector<std::string> selected;
  int64_t secure_epoch = -1, secure_index = -1;
  bool fixed = false;                      // the survivors are
  std::vector<std::string> survivors;      // once fixed
  std::set<std::string> echoed, answered;  // in this round
  bool charged = false;
  int64_t setups_begun = 0;  // beside it
};

class RoundMachine {
 public:
  explicit RoundMachine(const MachineLimits& limits = {}) : limits_(limits) {}

  // FailedPrecondition or InvalidArgument where the record cannot follow; nothing has changed then.
  absl::Status Apply(const Record& record);
  // As Apply would answer, without the record's name. AlreadyExists: this site has given it before.
  absl::Status Check(const SiteJoined& record) const;
  absl::Status Check(const SecureGiven& record);
  absl::Status Check(const UpdateCommitted& record) const;

  // `now`: as SteadyTime. `present`: sites that hold a subscription. Deadlines begin at the first
  // call that sees a stage: anew after a restart.
  Decision Decide(absl::Duration now, const std::set<std::string>& present);

  const RunOffer& offer() const { return offer_; }
  const RunOptions& options() const { return offer_.options; }
  bool asynchronous() const { return offer_.options.strategy.name == "fedbuff"; }
  bool secure() const { return offer_.options.secure.mode != "off"; }
  Stage stage() const { return stage_; }
  int64_t records() const { return records_; }                              // applied
  const std::map<std::string, int64_t>& joined() const { return joined_; }  // site → samples
  bool has_model() const { return model_.has_value(); }
  const ModelFixed& model() const { return *model_; }
  int64_t version() const { return version_; }
  const std::string& model_digest() const { return digest_; }
  const RoundState& round() const { return round_; }
  // In use, or being made while no round is under way.
  const SetupState& setup() const { return setup_; }
  // Made beside the rounds, until a round is planned on it.
  const SetupState& next_setup() const { return next_setup_; }
  // next_setup() where it has that number, else setup().
  const SetupState& SetupOf(int64_t epoch) const {
    return next_setup_.step != SetupStep::kNone && next_setup_.epoch == epoch ? next_setup_
                                                                              : setup_;
  }
  // Of the round; asynchronous: that are in no published sum yet, in the order of their commits.
  const std::vector<HeldUpdate>& updates() const { return updates_; }
  const HeldUpdate* UpdateOf(const std::string& site, int64_t round) const;  // null: none
  // Asynchronous: the number of the update that the site is to make next.
  int64_t NextUpdateOf(const std::string& site) const;
  // Asynchronous: the oldest version that the next update may be made for. Above version() while so
  // many wait that one for the newest model would be too old when its turn comes.
  int64_t OldestBase() const;
  // Updates at which the collection ends.
  int64_t goal() const;
  int64_t least() const;  // without which the round is abandoned
  // Survivors that must be heard of in kEcho and answers in kUnmask.
  int64_t threshold() const { return setup_.threshold; }
  const std::string& last_reason() const { return reason_; }
  bool stopping() const { return stopping_; }
  EndState end() const { return end_; }
  // Selected sites whose update is not there.
  std::vector<std::string> Missing() const;
  absl::Duration Deadline(Stage stage) const;  // how long it may take
  // As SteadyTime, as Decide saw it.
  absl::Duration stage_began() const { return stage_clock_.began; }

 private:
  absl::Status On(const RunStarted& record);
  absl::Status On(const SiteJoined& record);
  absl::Status On(const ModelFixed& record);
  absl::Status On(const SetupStarted& record);
  absl::Status On(const SecureGiven& record);
  absl::Status On(const KeysClosed& record);
  absl::Status On(const SharesAskedAgain& record);
  absl::Status On(const SharesClosed& record);
  absl::Status On(const SetupAbandoned& record);
  absl::Status On(const RoundPlanned& record);
  absl::Status On(const UpdateCommitted& record);
  absl::Status On(const SurvivorsFixed& record);
  absl::Status On(const EchoesClosed& record);
  absl::Status On(const AnswersClosed& record);
  absl::Status On(const PrivacyCharged& record);
  absl::Status On(const RoundPublished& record);
  absl::Status On(const RoundAbandoned& record);
  absl::Status On(const SnapshotTaken& record);
  absl::Status On(const StopAsked& record);
  absl::Status On(const RunEnded& record);
  absl::Status CheckAsynchronous(const UpdateCommitted& record) const;

  // Since when something waits: since the first Decide that sees it so.
  struct Clock {
    int64_t seen = -1;
    absl::Duration began;
    void See(int64_t transitions, absl::Duration now);
  };

  struct Step;
  Step StepOf(const SecureGiven& record);
  SetupState& MutableSetupOf(int64_t epoch);
  absl::Status MustBe(const SetupState& setup, int64_t epoch, SetupStep step) const;
  void Enter(SetupState& setup, SetupStep step);
  void Enter(Stage stage);
  absl::Status MustBe(Stage stage, const char* what) const;
  Decision DecideWaiting(absl::Duration left, const std::set<std::string>& present);
  Decision DecideStage(absl::Duration now, const std::set<std::string>& present);
  Decision DecideIdle(absl::Duration now, const std::set<std::string>& present);
  Decision DecideBeside(absl::Duration now, const std::set<std::string>& present);
  Decision DecideSetup(const SetupState& setup, absl::Duration left) const;
  Decision DecideCollect(absl::Duration left);
  Decision DecideUnmask(absl::Duration left);
  std::optional<Record> EndOfRun() const;
  bool SomeoneIsAway(const std::set<std::string>& present) const;
  std::vector<std::string> SetupPool(const std::vector<std::string>& pool) const;
  std::vector<std::string> Pool(const std::set<std::string>& present) const;
  int64_t LeastRoster() const;
  bool IsUsedUp(const SetupState& setup) const;
  bool SomeoneIsLate(const SetupState& setup, const std::set<std::string>& present) const;
  bool IsUsable(const SetupState& setup, const std::set<std::string>& present) const;
  bool NextSetupIsDue(const std::set<std::string>& present) const;
  Record StartSetup(const std::set<std::string>& present) const;
  // `setup`: null in the open.
  Record Plan(const std::vector<std::string>& pool, const SetupState* setup) const;
  RoundAbandoned Abandon(std::string why) const;

  const MachineLimits limits_;
  RunOffer offer_;
  Stage stage_ = Stage::kEmpty;
  int64_t records_ = 0, transitions_ = 0;
  std::map<std::string, int64_t> joined_;
  std::optional<ModelFixed> model_;
  int64_t version_ = 0;
  std::string digest_;
  int64_t next_round_ = 0, next_epoch_ = 0;
  RoundState round_;
  SetupState setup_, next_setup_;
  int64_t next_steps_ = 0;          // that next_setup_ has entered
  std::set<std::string> left_out_;  // of the next set-up
  std::vector<HeldUpdate> updates_;
  std::map<std::string, size_t> update_of_;     // synchronous: site → place in updates_
  std::map<std::string, int64_t> next_update_;  // asynchronous
  int64_t abandoned_ = 0;
  std::string reason_;  // of the last abandonment, or of the end
  bool stopping_ = false;
  std::string stop_reason_;
  EndState end_ = EndState::kRunning;
  // Decide's own, not of the records.
  int64_t first_transition_ = -1;
  Clock stage_clock_, next_clock_;
};

}  // namespace ds::federated
