// One turn of the run: what is due, its records made durable, their effects.
#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/status.h"
#include "federated/aggregator/run_core.h"
#include "federated/aggregator/situation.h"
#include "federated/update/integers.h"

namespace ds::federated {

void RunCore::Touch(const Record& record) {
  if (const auto* joined = std::get_if<SiteJoined>(&record)) {
    touched_.insert(joined->site);
  } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
    touched_.insert(update->site);
  } else if (const auto* given = std::get_if<SecureGiven>(&record)) {
    touched_.insert(given->site);
  } else if (std::holds_alternative<SurvivorsFixed>(record) && secure_ == nullptr) {
    // Sites whose update is there wait for the publication; the others need not go on.
    for (const std::string& site : machine_.Missing()) touched_.insert(site);
  } else if (!std::holds_alternative<PrivacyCharged>(record) &&
             !std::holds_alternative<AnswersClosed>(record)) {
    all_touched_ = true;
  }
}

void RunCore::Add(Record record) {
  reports_.Before(record, machine_, SteadyTime());
  publications_.Before(record, machine_);
  const absl::Status applied = machine_.Apply(record);
  DS_CHECK(applied.ok()) << applied;
  Touch(record);
  turn_.push_back(std::move(record));
}

absl::StatusOr<Charge> RunCore::AskLedger(int64_t round, int64_t updates) const {
  DS_ASSIGN_OR_RETURN(const Release release, work_.model()->ReleaseOf(updates));
  return ledger_->Ask(round, release);
}

// The end of a run whose next release the budget does not allow: before the round costs the sites
// anything, and once more when it is known how many share the noise.
std::optional<Record> RunCore::OverBudget(const Record& record) const {
  if (!ledger_) return std::nullopt;
  const auto* plan = std::get_if<RoundPlanned>(&record);
  const auto* fixed = std::get_if<SurvivorsFixed>(&record);
  if (plan == nullptr && fixed == nullptr) return std::nullopt;
  const auto charge = plan != nullptr
                          ? AskLedger(plan->round, machine_.least())
                          : AskLedger(fixed->round, static_cast<int64_t>(fixed->sites.size()));
  if (charge.ok()) return std::nullopt;
  const bool spent = absl::IsResourceExhausted(charge.status());
  return RunEnded{spent ? EndState::kBudgetSpent : EndState::kFailed,
                  std::string(charge.status().message())};
}

Record RunCore::Vetted(Record record) {
  if (auto end = OverBudget(record)) return *std::move(end);
  if (secure_ == nullptr) return record;
  if (auto* abandoned = std::get_if<RoundAbandoned>(&record);
      abandoned != nullptr && machine_.stage() == Stage::kUnmask) {
    const std::vector<std::string> blamed = secure_->Blamed();
    if (!blamed.empty())
      absl::StrAppend(&abandoned->reason, "; too few good shares of ", absl::StrJoin(blamed, ", "));
  }
  std::vector<std::string> awaited;
  const auto* shares = std::get_if<SharesClosed>(&record);
  if (shares != nullptr) awaited = secure_->Awaited(shares->epoch, machine_);
  const absl::Status taken = secure_->Take(record, machine_, false);
  if (taken.ok()) return record;
  const std::string why(taken.message());
  if (const auto* keys = std::get_if<KeysClosed>(&record)) return SetupAbandoned{keys->epoch, why};
  if (shares != nullptr) return SetupAbandoned{shares->epoch, why, std::move(awaited)};
  if (std::holds_alternative<SetupStarted>(record)) return RunEnded{EndState::kFailed, why};
  return RoundAbandoned{machine_.round().round, why, machine_.Missing()};
}

absl::Duration RunCore::Decide() {
  while (true) {
    Decision decision = machine_.Decide(SteadyTime(), present_);
    if (decision.fix_model) {
      StartFix();
      return absl::InfiniteDuration();
    }
    if (!decision.record) return decision.ask_again;
    Add(Vetted(*std::move(decision.record)));
  }
}

absl::Status RunCore::CommitTurn() {
  if (turn_.empty()) return absl::OkStatus();
  At("append");
  DS_RETURN_IF_ERROR(store_->Append(EncodeRecords(turn_)).status());
  At("appended");
  return absl::OkStatus();
}

void RunCore::Effects() {
  for (const Record& record : std::exchange(turn_, {})) EffectOf(record);
  FreeBlobs();
  if (machine_.stage() == Stage::kPublish) StartPublish();
  StartSnapshot();
  Tell();
}

void RunCore::EffectOf(const Record& record) {
  if (std::holds_alternative<ModelFixed>(record)) {
    SetUpdateSize();
  } else if (const auto* update = std::get_if<UpdateCommitted>(&record)) {
    uploads_.Committed(update->site, update->update.digest);
  } else if (const auto* published = std::get_if<RoundPublished>(&record)) {
    shelf_->Keep(published->published);
  } else if (std::holds_alternative<RoundPlanned>(record)) {
    // What was found in the store when the run was opened, and what was sent for earlier rounds,
    // which asynchronous updates outlive.
    std::vector<std::string> stale = std::exchange(orphans_, {});
    if (!machine_.asynchronous()) {
      for (std::string& digest : uploads_.Clear()) stale.push_back(std::move(digest));
    }
    for (const std::string& digest : stale) {
      if (publications_.Needs(digest, machine_)) continue;
      static_cast<void>(uploads_.Remove(digest));  // found again at the next opening
    }
  }
  const std::string warning = secure_ == nullptr ? "" : secure_->warning();
  const auto report = reports_.After(record, machine_, warning, Epsilon());
  if (!report || options_.observer == nullptr) return;
  worker_->Post([this, report = *report] {
    options_.observer->RoundEnded(report);
    if (report.published) options_.observer->Published(report, *work_.model());
  });
}

void RunCore::FreeBlobs() {
  for (const std::string& digest : uploads_.TakeEvicted()) {
    if (!publications_.Needs(digest, machine_)) static_cast<void>(uploads_.Remove(digest));
  }
  for (const BlobRef& blob : publications_.TakeFreed()) {
    if (publications_.Needs(blob.digest, machine_)) continue;
    if (blob.bytes.empty()) {
      static_cast<void>(uploads_.Remove(blob.digest));  // found again at the next opening
    } else {
      shelf_->Drop(blob.digest);
    }
  }
}

int64_t RunCore::MaximumSites() const {
  const RoundOptions& round = machine_.options().round;
  int64_t sites = options_.maximum_sites;
  if (sites == 0) sites = round.goal > 0 ? round.goal + round.spare : 0;
  if (sites == 0) sites = round.wait_for > 1 ? round.wait_for : 64;
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(sites, round.minimum))));
}

void RunCore::SetUpdateSize() {
  const ModelFixed& model = machine_.model();
  MutexLock lock(mutex_);
  update_values_ = model.values;
  update_bits_ = static_cast<int>(secure_ != nullptr ? model.modulus_bits : model.update_bits);
  uploads_.SetSize(PackedSize(update_values_, update_bits_));
}

void RunCore::StartFix() {
  if (std::exchange(fixing_, true)) return;
  int64_t samples = machine_.options().update.samples_reference;
  for (const auto& [site, declared] : machine_.joined()) {
    if (machine_.options().update.samples_reference == 0) samples = std::max(samples, declared);
  }
  samples = std::max<int64_t>(samples, 1);
  worker_->Post([this, samples, sites = MaximumSites()] {
    auto fixed = work_.Fix(machine_.options(), samples, sites);
    loop_->Post([this, fixed = std::move(fixed)] {
      fixing_ = false;
      if (machine_.stage() != Stage::kWaiting) return;
      if (fixed.ok()) {
        Add(*fixed);
      } else {
        Add(RunEnded{EndState::kFailed,
                     absl::StrCat("the initial model: ", fixed.status().message())});
      }
    });
  });
}

void RunCore::StartPublish() {
  if (std::exchange(publishing_, true)) return;
  PublishJob job{.round = machine_.round().round,
                 .version = machine_.version() + 1,
                 .secure = secure_.get(),
                 .add_noise = machine_.options().privacy.mechanism == "central"};
  const std::vector<std::string>& survivors = machine_.round().survivors;
  for (const HeldUpdate& held : machine_.updates()) {
    const bool counts = machine_.asynchronous()
                            ? job.updates.size() < survivors.size()
                            : std::binary_search(survivors.begin(), survivors.end(), held.site);
    if (counts) job.updates.push_back(held);
  }
  absl::StatusOr<Charge> charge = Charge{};
  if (ledger_) charge = AskLedger(job.round, static_cast<int64_t>(job.updates.size()));
  worker_->Post([this, job = std::move(job), charge = std::move(charge)] {
    At("publish");
    auto published = charge.ok() ? work_.Publish(job) : charge.status();
    loop_->Post([this, round = job.round, published = std::move(published), charge] {
      publishing_ = false;
      if (machine_.stage() != Stage::kPublish || machine_.round().round != round) return;
      if (published.ok()) {
        AddPublished(*published, charge);
      } else {
        Add(RoundAbandoned{round, absl::StrCat("round ", round, " could not be published: ",
                                               published.status().message())});
      }
    });
  });
}

// Charged and released by the same entry of the log.
void RunCore::AddPublished(RoundPublished published, absl::StatusOr<Charge> charge) {
  if (ledger_) {
    Add(PrivacyCharged{published.round, EncodeCharge(*charge)});
    const absl::Status applied = ledger_->Apply(*charge);
    DS_CHECK(applied.ok()) << applied;
  }
  Add(std::move(published));
}

void RunCore::StartSnapshot() {
  if (snapshotting_ || publishing_) return;
  const bool ended = machine_.stage() == Stage::kEnded;
  if (machine_.version() - snapshot_tried_ >= (ended ? 1 : options_.snapshot_every)) {
    snapshotting_ = true;
    snapshot_tried_ = machine_.version();
    worker_->Post([this] {
      auto taken = work_.Snapshot();
      loop_->Post([this, taken = std::move(taken)] {
        snapshotting_ = false;
        if (taken.ok()) {
          Add(*taken);
        } else {
          Warn(absl::StrCat("no snapshot of the model: ", taken.status().message()));
        }
      });
    });
  } else if (ended && !std::exchange(ended_told_, true)) {
    worker_->Post([this, report = Report()] {
      if (options_.observer != nullptr) options_.observer->Ended(report, work_.model());
      MutexLock lock(mutex_);
      ended_ = RunEnded{report.end, report.reason};
      ended_changed_.NotifyAll();
    });
  }
}

void RunCore::Warn(std::string text) {
  if (options_.observer == nullptr) return;
  worker_->Post([this, text = std::move(text)] { options_.observer->Warned(text); });
}

void RunCore::Tell() {
  std::vector<std::string> sites;
  if (all_touched_) {
    sites = watchers_.Sites();
  } else {
    sites.assign(touched_.begin(), touched_.end());
  }
  if (all_touched_) NamePublicBlobs();
  for (const std::string& site : sites) {
    if (!watchers_.Has(site)) continue;
    const Situation situation =
        SituationOf(site, machine_, publications_, secure_.get(), SteadyTime());
    {
      MutexLock lock(mutex_);
      Payloads& payloads = payloads_of_[site];
      if (payloads.now != situation.secure_payload) {
        payloads.before = std::exchange(payloads.now, situation.secure_payload);
      }
    }
    watchers_.Deliver(site, situation);
  }
  if (options_.observer != nullptr && (all_touched_ || !touched_.empty())) {
    worker_->Post([this, report = Report()] { options_.observer->Changed(report); });
  }
  all_touched_ = false;
  touched_.clear();
}

void RunCore::NamePublicBlobs() {
  MutexLock lock(mutex_);
  public_blobs_ = {machine_.offer().model};
  for (const PublishedVersion& version : publications_.kept()) {
    public_blobs_.insert(version.blob.digest);
  }
  if (const auto* snapshot = publications_.snapshot()) {
    public_blobs_.insert(snapshot->blob.digest);
  }
}

}  // namespace ds::federated
