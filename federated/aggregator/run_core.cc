// What callers ask of the run.
#include "federated/aggregator/run_core.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "federated/aggregator/situation.h"

namespace ds::federated {

absl::Status RunCore::Refused(const std::string& site, absl::Status status) {
  const absl::StatusCode code = status.code();
  if (code == absl::StatusCode::kInvalidArgument || code == absl::StatusCode::kPermissionDenied ||
      code == absl::StatusCode::kDataLoss) {
    reports_.CountRefusal(site, status.message());
  }
  return status;
}

bool RunCore::MayDownload(const std::string& site, const std::string& digest) {
  MutexLock lock(mutex_);
  if (public_blobs_.contains(digest)) return true;
  const auto found = payloads_of_.find(site);
  return found != payloads_of_.end() && !digest.empty() &&
         (found->second.now == digest || found->second.before == digest);
}

absl::Status RunCore::CheckUpdate(const BlobRef& upload) {
  DS_ASSIGN_OR_RETURN(const auto reader, ReadBlob(*store_, upload));
  int64_t values;
  int bits;
  {
    MutexLock lock(mutex_);
    values = update_values_;
    bits = update_bits_;
  }
  return CheckUpdateBlob(*reader, values, bits);
}

void RunCore::CountDownload(const std::string& site, int64_t bytes) {
  reports_.CountDownload(site, bytes);
}

absl::StatusOr<RunEnded> RunCore::WaitForEnd(absl::Duration patience) {
  const Deadline deadline = Deadline::In(patience);
  MutexLock lock(mutex_);
  while (!ended_) {
    if (absl::Status broken = loop_->broken(); !broken.ok()) return broken;
    if (deadline.IsPast()) return absl::DeadlineExceededError("the run is still under way");
    // Wakes now and then for a log that cannot be written any more.
    const Deadline look = Deadline::In(std::min(deadline.Left(), absl::Seconds(1)));
    ended_changed_.WaitUntil(mutex_, look.Moment());
  }
  return *ended_;
}

absl::Status RunCore::Join(const std::string& site, int64_t samples, JoinReply* reply) {
  if (!machine_.options().update.declare_samples) samples = 0;
  const auto known = machine_.joined().find(site);
  const bool is_new = known == machine_.joined().end();
  if (is_new && machine_.stage() == Stage::kEnded) {
    return absl::FailedPreconditionError("the run has ended");
  }
  if (is_new || (machine_.stage() == Stage::kWaiting && !fixing_ && known->second != samples)) {
    const SiteJoined record{site, samples};
    DS_RETURN_IF_ERROR(machine_.Check(record));
    Add(record);
  }
  if (machine_.has_model()) {
    *reply = {machine_.model().samples_reference, machine_.model().maximum_sites};
  }
  return absl::OkStatus();
}

absl::Status RunCore::CheckBase(const CommitRequest& request, UpdateCommitted* record,
                                CommitReply* reply) const {
  if (!machine_.asynchronous()) {
    record->base_version = machine_.round().base_version;
    if (request.base_digest == machine_.round().base_digest) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "an update for the model ", request.base_digest, ", where round ", request.round,
        " trains ", machine_.round().base_digest, ": the site holds another model"));
  }
  const int64_t oldest = machine_.OldestBase();
  for (int64_t version = machine_.version(); version >= oldest; --version) {
    if (publications_.ModelDigest(version) != request.base_digest) continue;
    record->base_version = version;
    return absl::OkStatus();
  }
  reply->reason = absl::StrCat("the update is for a model older than version ", oldest,
                               ", too old when its turn comes behind ", machine_.updates().size(),
                               " others (strategy.max_staleness), or for none of this run");
  return absl::OkStatus();
}

absl::Status RunCore::Commit(const std::string& site, const CommitRequest& request,
                             const absl::StatusOr<BlobRef>& upload, CommitReply* reply) {
  const LastCommit* last = publications_.Of(site);
  if (last != nullptr && last->round == request.round) {
    if (last->update != request.update) {
      return absl::InvalidArgumentError(
          absl::StrCat("site '", site, "' has committed another update in round ", request.round));
    }
    reply->counted = last->open || last->counted;
    if (!reply->counted) reply->reason = absl::StrCat("round ", request.round, " was abandoned");
    return absl::OkStatus();
  }
  UpdateCommitted record{.round = request.round, .site = site, .notes = request.secure_notes};
  if (!machine_.asynchronous()) {
    const RoundState& round = machine_.round();
    if (request.round < 0 || request.round > round.round) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no round ", request.round, " yet, ", round.round, " is the last"));
    }
    if (request.round < round.round || machine_.stage() != Stage::kCollect) {
      reply->reason = absl::StrCat("round ", request.round, " is closed");
      return absl::OkStatus();
    }
    if (!std::binary_search(round.selected.begin(), round.selected.end(), site)) {
      reply->reason = absl::StrCat("site '", site, "' was not selected for round ", request.round);
      return absl::OkStatus();
    }
  } else if (machine_.stage() == Stage::kEnded) {
    reply->reason = "the run has ended";
    return absl::OkStatus();
  } else if (request.round >= 0 && request.round < machine_.NextUpdateOf(site)) {
    reply->reason = absl::StrCat("update ", request.round, " was recorded long ago");
    return absl::OkStatus();
  }
  DS_RETURN_IF_ERROR(CheckBase(request, &record, reply));
  if (!reply->reason.empty()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(record.update, upload);
  // Found a moment ago; since then an older update of the same bytes may have been summed and
  // freed.
  if (record.update.bytes.empty() && !store_->Has(record.update.digest)) {
    return absl::NotFoundError(absl::StrCat("the update ", record.update.digest,
                                            " is not here any more: upload it again"));
  }
  DS_RETURN_IF_ERROR(machine_.Check(record));
  Record taken = std::move(record);
  if (secure_ != nullptr) DS_RETURN_IF_ERROR(secure_->Take(taken, machine_, false));
  Add(std::move(taken));
  reply->counted = true;
  return absl::OkStatus();
}

// An answer or an echo that is not needed any more, since enough others came before it.
bool RunCore::IsLate(const SecureGiven& given) const {
  const bool of_round = given.step == SecureStep::kEcho || given.step == SecureStep::kAnswer;
  const RoundState& round = machine_.round();
  if (!of_round || given.round < 0 || given.round > round.round) return false;
  if (given.round < round.round) return true;
  const Stage stage = machine_.stage();
  return stage == Stage::kPublish || stage == Stage::kIdle || stage == Stage::kEnded ||
         (stage == Stage::kUnmask && given.step == SecureStep::kEcho);
}

absl::Status RunCore::Give(SecureGiven given) {
  if (secure_ == nullptr) {
    return absl::InvalidArgumentError("the run has no secure aggregation");
  }
  if (IsLate(given)) return absl::OkStatus();
  const absl::Status check = machine_.Check(given);
  const bool again = absl::IsAlreadyExists(check);
  if (!check.ok() && !again) return check;
  const SecureStep step = given.step;
  const int64_t epoch = given.epoch;
  Record record = std::move(given);
  // The same once more is no error, another one is.
  DS_RETURN_IF_ERROR(secure_->Take(record, machine_, false));
  if (again) return absl::OkStatus();
  Add(std::move(record));
  if (step == SecureStep::kShares && secure_->AsksSharesAgain(epoch, machine_)) {
    Record more = SharesAskedAgain{epoch};
    DS_RETURN_IF_ERROR(secure_->Take(more, machine_, false));
    Add(std::move(more));
  }
  const bool enough =
      static_cast<int64_t>(machine_.round().answered.size()) >= machine_.threshold();
  if (step == SecureStep::kAnswer && enough && secure_->Answered()) {
    Add(AnswersClosed{machine_.round().round});
  }
  return absl::OkStatus();
}

absl::Status RunCore::Stop(const std::string& reason) {
  if (!machine_.stopping() && machine_.stage() != Stage::kEnded) Add(StopAsked{reason});
  return absl::OkStatus();
}

void RunCore::Watch(const std::string& site, bool is_site, std::shared_ptr<Watcher> watcher) {
  watchers_.Add(site, std::move(watcher));
  if (is_site) present_.insert(site);
  touched_.insert(site);
}

void RunCore::Unwatch(const std::string& site, const std::shared_ptr<Watcher>& watcher) {
  watchers_.Remove(site, watcher);
  if (watchers_.Has(site)) return;
  present_.erase(site);
  touched_.insert(site);
}

void RunCore::Discard(const BlobRef& blob) {
  if (!blob.bytes.empty() || publications_.Needs(blob.digest, machine_)) return;
  static_cast<void>(uploads_.Remove(blob.digest));  // found again at the next opening
}

RunReport RunCore::Report() {
  return reports_.Run(machine_, publications_, present_, uploads_.BytesBySite(), Epsilon(),
                      SteadyTime());
}

}  // namespace ds::federated
