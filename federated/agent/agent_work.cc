// An agent's update of one round: trained, kept, uploaded, committed.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/random.h"
#include "base/status.h"
#include "federated/agent/agent.h"
#include "federated/secure/crypto/crypto.h"

namespace ds::federated {
namespace {

constexpr int kMostFailedTrainings = 3;  // in a row, after which the site leaves the run

// An upload that ends as soon as its round is over.
class DueReader final : public BlobReader {
 public:
  DueReader(absl::Span<const std::byte> bytes, const Agent& agent, const AgentJob& job)
      : bytes_(SpanReader(bytes)), agent_(agent), job_(job) {}
  int64_t size() const override { return bytes_->size(); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    if (!agent_.IsDue(job_)) return absl::CancelledError("the round is over");
    return bytes_->Read(offset, out);
  }

 private:
  const std::shared_ptr<BlobReader> bytes_;
  const Agent& agent_;
  const AgentJob& job_;
};

// Sites round independently of each other, and of their other rounds.
uint64_t NoiseKey(const RunOffer& offer, const std::string& site, int64_t round) {
  const std::string name = absl::StrCat(offer.run, "/", site, "/", round);
  return offer.options.seed ^ StreamOf(name.data(), name.size());
}

}  // namespace

absl::Status Agent::Work(const AgentJob& job) {
  if (BeginTraining(job)) DS_RETURN_IF_ERROR(Train(job));
  return IsDue(job) ? Send(job) : absl::OkStatus();
}

bool Agent::BeginTraining(const AgentJob& job) {
  MutexLock lock(mutex_);
  const SiteUpdate* update = updates_->under_way();
  const bool made = update != nullptr && update->round == job.plan.round;
  // While the job was waiting, the model may have gone on: then another job follows.
  if (job.resend || made || !IsDue(job) || model_->digest() != job.plan.base_digest) return false;
  training_round_ = job.plan.round;
  return true;
}

absl::Status Agent::Train(const AgentJob& job) {
  const absl::StatusOr<TrainedUpdate> trained =
      parts_.trainer->Train(job.plan.round, job.weights, job.control, job.own_control);
  MutexLock lock(mutex_);
  training_round_ = -1;
  if (!IsDue(job)) {
    Say(absl::StrCat("round ", job.plan.round, " was over before this site had trained"));
    return absl::OkStatus();
  }
  if (!trained.ok()) return TrainingFailed(job, trained.status());
  const absl::Status kept = KeepUpdate(job, *trained);
  if (absl::IsInvalidArgument(kept)) return TrainingFailed(job, kept);
  // Its masks are used, or gone: training again would not bring them back.
  if (secure_ != nullptr && absl::IsFailedPrecondition(kept)) given_up_round_ = job.plan.round;
  DS_RETURN_IF_ERROR(kept);
  failed_in_a_row_ = 0;
  ++report_.trained;
  return absl::OkStatus();
}

absl::Status Agent::TrainingFailed(const AgentJob& job, const absl::Status& why) {
  given_up_round_ = job.plan.round;
  Say(absl::StrCat("training of round ", job.plan.round, " failed: ", why.message()));
  if (++failed_in_a_row_ < kMostFailedTrainings) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("training failed in ", failed_in_a_row_,
                                          " rounds in a row, the last time with: ", why.message(),
                                          "; the site leaves the run"));
}

absl::Status Agent::KeepUpdate(const AgentJob& job, const TrainedUpdate& trained) {
  if (model_->digest() != job.plan.base_digest)
    return absl::FailedPreconditionError("the model went on while the site trained");
  if (trained.delta.size() < job.own_control.size())
    return absl::InvalidArgumentError("the trainer gave no change of its control variate");
  const SiteUpdate* last = updates_->counted();
  SiteUpdate update;
  update.round = job.plan.round;
  update.base_version = job.plan.base_version;
  update.base_digest = job.plan.base_digest;
  const bool feedback = offer_.options.update.error_feedback;
  const absl::Span<const float> residual =
      feedback && last != nullptr ? absl::MakeConstSpan(last->residual) : absl::Span<const float>();
  DS_ASSIGN_OR_RETURN(
      update.levels,
      model_->Encode(trained.delta, trained.metrics, residual,
                     NoiseKey(offer_, parts_.identity->site(), job.plan.round),
                     feedback ? &update.residual : nullptr, secure::FillRandomBytes));
  update.own_control = job.own_control;
  const size_t first = trained.delta.size() - job.own_control.size();
  for (size_t i = 0; i < job.own_control.size(); ++i)
    update.own_control[i] += trained.delta[first + i];
  return secure_ == nullptr ? updates_->Begin(std::move(update))
                            : KeepMasked(job, std::move(update));
}

// The update and what is sent of it wait for the disk together.
absl::Status Agent::KeepMasked(const AgentJob& job, SiteUpdate update) {
  return updates_->Begin(
      std::move(update),
      [&](const SiteUpdate& made, const VaultValue& value) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        DS_ASSIGN_OR_RETURN(IntegerVector masked,
                            secure_->Mask(job.plan, made.base_digest, made.levels,
                                          model_->modulus_bits(), absl::MakeConstSpan(&value, 1)));
        masked_ = {job.plan.round, std::move(masked)};
        return absl::OkStatus();
      });
}

absl::StatusOr<IntegerVector> Agent::Masked(const AgentJob& job, const SiteUpdate& update) {
  std::optional<MaskedUpdate> masked = std::exchange(masked_, std::nullopt);
  if (masked.has_value() && masked->round == job.plan.round) return std::move(masked->values);
  return secure_->Mask(job.plan, update.base_digest, update.levels, model_->modulus_bits(), {});
}

absl::Status Agent::Send(const AgentJob& job) {
  CommitRequest commit{.run = offer_.run, .round = job.plan.round};
  std::vector<std::byte> packed;
  {
    MutexLock lock(mutex_);
    const SiteUpdate* update = updates_->under_way();
    if (update == nullptr || update->round != job.plan.round) return absl::OkStatus();
    commit.base_digest = update->base_digest;
    if (secure_ == nullptr) {
      packed = Pack(update->levels);
    } else {
      DS_ASSIGN_OR_RETURN(const IntegerVector masked, Masked(job, *update));
      packed = Pack(masked);
      commit.secure_notes = secure_->Notes();
    }
  }
  commit.update = Sha256Hex(packed);
  const absl::Status sent = parts_.client->Upload(commit.update, DueReader(packed, *this, job));
  if (!IsDue(job)) return absl::OkStatus();
  // The aggregator has other bytes, or none: both are mended by sending them again.
  if (absl::IsDataLoss(sent)) return absl::UnavailableError(sent.message());
  DS_RETURN_IF_ERROR(sent);
  absl::StatusOr<CommitReply> reply = parts_.client->Commit(commit);
  if (absl::IsNotFound(reply.status())) return absl::UnavailableError(reply.status().message());
  if (absl::IsFailedPrecondition(reply.status()))
    reply = CommitReply{.counted = false, .reason = std::string(reply.status().message())};
  DS_RETURN_IF_ERROR(reply.status());
  CommitAnswered(job, *reply);
  return absl::OkStatus();
}

void Agent::CommitAnswered(const AgentJob& job, const CommitReply& reply) {
  MutexLock lock(mutex_);
  if (reply.counted) {  // recorded; whether it is in a sum, a publication says
    recorded_round_ = job.plan.round;
    return;
  }
  Say(absl::StrCat("the update of round ", job.plan.round, " was not taken: ", reply.reason));
  if (!asynchronous()) {
    given_up_round_ = job.plan.round;
  } else if (updates_->under_way() != nullptr && updates_->under_way()->round == job.plan.round) {
    updates_->Drop();  // too old: another one is made of the newest model
  }
}

}  // namespace ds::federated
