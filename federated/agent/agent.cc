#include "federated/agent/agent.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds::federated {
namespace {

// Published blobs hold at most 4 bytes a value and group, and a little around them.
constexpr int64_t kPublishedMargin = 1 << 20;
constexpr int64_t kMostModelBytes = int64_t{64} << 30;  // of the model's file, and of a snapshot

absl::Status OtherModel(int64_t version, const std::string& own, const std::string& said) {
  return absl::PermissionDeniedError(absl::StrCat(
      "the aggregator's model is not the one that its sums make: version ", version, " is ",
      said.substr(0, 16), "... to it and ", own.substr(0, 16),
      "... here; the site leaves the run; mend: the same ds_agent version everywhere, else ask "
      "who runs the aggregator"));
}

absl::Status CheckLocalModel(const LocalModel& model) {
  if (model.layout.size() == static_cast<int64_t>(model.weights.size()) && model.samples >= 0)
    return absl::OkStatus();
  return absl::InternalError(absl::StrCat("the trainer's model has ", model.weights.size(),
                                          " weights and a layout of ", model.layout.size()));
}

}  // namespace

bool LeavesTheRun(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

Agent::Agent(AgentOptions options, AgentParts parts, RunOffer offer)
    : options_(std::move(options)), parts_(std::move(parts)), offer_(std::move(offer)) {}

Agent::~Agent() = default;

void Agent::Say(absl::string_view line) const {
  if (options_.say) options_.say(line);
}

absl::StatusOr<std::unique_ptr<Agent>> Agent::Start(AgentOptions options, AgentParts parts) {
  HelloRequest hello;
  hello.program = "ds_agent";
  DS_ASSIGN_OR_RETURN(HelloReply reply, parts.client->Hello(hello));
  if (reply.version < kOldestWireVersion || reply.version > kWireVersion)
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator speaks version ", reply.version, ", this site ",
                     kOldestWireVersion, " to ", kWireVersion, "; mend: the same release on both"));
  DS_RETURN_IF_ERROR(CheckOffer(options.policy, reply.offer));
  auto agent = std::unique_ptr<Agent>(
      new Agent(std::move(options), std::move(parts), std::move(reply.offer)));
  DS_RETURN_IF_ERROR(agent->Open());
  return agent;
}

absl::Status Agent::Open() {
  if (offer_.options.secure.mode != "off") {
    absl::StatusOr<std::unique_ptr<SecureAgent>> secure = SecureAgent::Open(
        offer_.options.secure, options_.policy.secure, offer_.run, parts_.identity, parts_.vault);
    if (secure.ok()) {
      secure_ = std::make_unique<SecurePart>(offer_, *std::move(secure), *parts_.client);
    } else if (absl::IsFailedPrecondition(secure.status())) {
      // Killed behind the run's end, its masks are gone: it may still hear of the end.
      no_masks_ = secure.status();
    } else {
      return secure.status();
    }
  }
  MutexLock lock(mutex_);
  DS_ASSIGN_OR_RETURN(updates_, SiteUpdates::Open(parts_.vault, offer_.run));
  DS_ASSIGN_OR_RETURN(const std::string file,
                      parts_.files->Fetch(*parts_.client, offer_.model, kMostModelBytes));
  DS_ASSIGN_OR_RETURN(initial_, parts_.trainer->Open(offer_, file));
  DS_RETURN_IF_ERROR(CheckLocalModel(initial_));
  return JoinRun().status();
}

absl::StatusOr<JoinReply> Agent::JoinRun() {
  const bool declared = offer_.options.update.declare_samples;
  return parts_.client->Join(
      {.run = offer_.run, .samples = declared ? initial_.samples : 0, .version = -1});
}

absl::StatusOr<AgentStep> Agent::React(const Situation& situation) {
  if (!no_masks_.ok() && situation.phase != Phase::kEnded)
    return absl::PermissionDeniedError(no_masks_.message());
  MutexLock lock(mutex_);
  open_round_ = situation.phase == Phase::kCollect ? situation.plan.round : -1;
  if (training_round_ >= 0 && training_round_ != open_round_) parts_.trainer->Interrupt();
  AgentStep step;
  if (situation.phase == Phase::kWaiting) return step;
  // An asynchronous update is made of integers on its own version's grid: the model waits for it.
  const bool busy = asynchronous() && training_round_ >= 0;
  if (situation.phase == Phase::kEnded) {
    DS_RETURN_IF_ERROR(EndRun(situation));
    step.ended = true;
    return step;
  }
  if (!busy) DS_RETURN_IF_ERROR(CatchUp(situation));
  Settle(situation);
  if (secure_ != nullptr) {
    const absl::Status answered = secure_->React(situation, *model_);
    for (const std::string& warning : secure_->TakeWarnings()) Say(warning);
    DS_RETURN_IF_ERROR(answered);
  }
  step.job = DueJob(situation);
  return step;
}

absl::Status Agent::Tidy() { return secure_ == nullptr ? absl::OkStatus() : secure_->Forget(); }

absl::Status Agent::MakeModel() {
  // What an update looks like was settled when the waiting was over.
  DS_ASSIGN_OR_RETURN(const JoinReply reply, JoinRun());
  if (reply.maximum_sites < 1 || reply.samples_reference < 1)
    return absl::UnavailableError("the aggregator has not settled the run's size yet");
  DS_ASSIGN_OR_RETURN(model_, GlobalModel::Create(initial_.layout, initial_.weights, offer_.options,
                                                  reply.maximum_sites, reply.samples_reference));
  initial_.weights = {};
  return absl::OkStatus();
}

absl::Status Agent::CatchUp(const Situation& situation) {
  if (model_ == nullptr) {
    // A late one takes the way from version 0 where it is there, else a snapshot.
    const bool from_0 = situation.version == 0 ||
                        (!situation.recent.empty() && situation.recent.front().version <= 1);
    DS_RETURN_IF_ERROR(from_0 ? MakeModel() : TakeSnapshot(situation));
  }
  if (situation.version < model_->version())
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator went back from version ", model_->version(), " to ",
                     situation.version, ": its state was put back; the site leaves the run"));
  while (model_->version() < situation.version) {
    const int64_t next = model_->version() + 1;
    const auto ref = std::find_if(situation.recent.begin(), situation.recent.end(),
                                  [&](const PublishedRef& r) { return r.version == next; });
    DS_RETURN_IF_ERROR(ref != situation.recent.end() ? TakeVersion(*ref) : TakeSnapshot(situation));
  }
  if (model_->digest() != situation.model_digest)
    return OtherModel(situation.version, model_->digest(), situation.model_digest);
  report_.version = model_->version();
  report_.model_digest = model_->digest();
  return absl::OkStatus();
}

absl::Status Agent::TakeVersion(const PublishedRef& ref) {
  const int64_t groups = asynchronous() ? offer_.options.strategy.max_staleness + 1 : 1;
  DS_ASSIGN_OR_RETURN(
      const std::string bytes,
      FetchBytes(*parts_.client, ref.blob, groups * 4 * model_->values() + kPublishedMargin));
  absl::StatusOr<Published> published = Published::Decode(bytes);
  const absl::Status advanced =
      published.ok() ? model_->Advance(*published, nullptr, nullptr) : published.status();
  if (!advanced.ok())
    return absl::PermissionDeniedError(absl::StrCat("version ", ref.version,
                                                    " that the aggregator published is no sum of "
                                                    "updates: ",
                                                    advanced.message()));
  if (model_->digest() != ref.model_digest)
    return OtherModel(ref.version, model_->digest(), ref.model_digest);
  return absl::OkStatus();
}

absl::Status Agent::TakeSnapshot(const Situation& situation) {
  const int64_t version = model_ == nullptr ? -1 : model_->version();
  if (situation.snapshot.empty() || situation.snapshot_version <= version)
    return absl::FailedPreconditionError(absl::StrCat("the aggregator names no way from version ",
                                                      version, " to version ", situation.version));
  DS_ASSIGN_OR_RETURN(const std::string file,
                      parts_.files->Fetch(*parts_.client, situation.snapshot, kMostModelBytes));
  absl::StatusOr<std::unique_ptr<GlobalModel>> model = GlobalModel::Load(file, offer_.options);
  DS_RETURN_IF_ERROR(parts_.files->Remove(file));
  if (!model.ok() || (*model)->version() != situation.snapshot_version ||
      (*model)->layout().size() != initial_.layout.size())
    return absl::PermissionDeniedError(
        absl::StrCat("the aggregator's snapshot of version ", situation.snapshot_version,
                     " is no state of this run's model: ",
                     model.ok() ? "another one's" : model.status().message()));
  model_ = *std::move(model);
  initial_.weights = {};
  Say(absl::StrCat("caught up by the aggregator's snapshot of version ", model_->version()));
  return absl::OkStatus();
}

void Agent::Settle(const Situation& situation) {
  // Asynchronous: the updates of this site, numbered from 0, are summed in their order.
  for (const PublishedRef& ref : situation.recent) {
    if (asynchronous() && ref.counted) report_.counted = std::max(report_.counted, ref.round + 1);
  }
  const SiteUpdate* update = updates_->under_way();
  if (update == nullptr) return;
  const int64_t round = update->round;
  const bool planned = situation.phase == Phase::kCollect || situation.phase == Phase::kUnmask;
  bool over = situation.phase == Phase::kEnded || (planned && situation.plan.round > round);
  // Asynchronous: the plan goes on once the update is recorded, and while the run goes on every one
  // of these is summed: what it left over is for the next one, which is made before that.
  bool counted = asynchronous() && planned && over;
  for (const PublishedRef& ref : situation.recent) {
    if (asynchronous() || ref.round != round) continue;
    over = true;
    counted = ref.counted;
  }
  if (!over) return;
  if (!counted) {
    updates_->Drop();
    return;
  }
  updates_->Count();
  if (!asynchronous()) ++report_.counted;
}

std::optional<AgentJob> Agent::DueJob(const Situation& situation) {
  const RoundPlan& plan = situation.plan;
  if (situation.phase != Phase::kCollect || !plan.selected || situation.committed ||
      plan.round == given_up_round_ || plan.round == recorded_round_ ||
      (secure_ != nullptr && !secure_->Ready(plan)))
    return std::nullopt;
  const SiteUpdate* update = updates_->under_way();
  AgentJob job{.plan = plan};
  if (update != nullptr && update->round == plan.round) {
    job.resend = true;
    return job;
  }
  if (training_round_ == plan.round) return std::nullopt;
  if (model_->version() != plan.base_version || model_->digest() != plan.base_digest)
    return std::nullopt;
  job.weights.assign(model_->weights().begin(), model_->weights().end());
  job.control.assign(model_->control().begin(), model_->control().end());
  if (const SiteUpdate* last = updates_->counted(); last != nullptr)
    job.own_control = last->own_control;
  if (job.own_control.empty()) job.own_control.resize(job.control.size());
  return job;
}

absl::Status Agent::EndRun(const Situation& situation) {
  if (situation.version > 0 || model_ != nullptr) {
    const absl::Status verified = CatchUp(situation);
    // Whoever comes back so late that the way there is gone has nothing to hold the model against.
    if (!absl::IsFailedPrecondition(verified)) DS_RETURN_IF_ERROR(verified);
  }
  Settle(situation);
  DS_RETURN_IF_ERROR(updates_->Clear());
  if (secure_ != nullptr) DS_RETURN_IF_ERROR(secure_->EndRun());  // last: no way leads back here
  report_.end = situation.end;
  report_.reason = situation.reason;
  return absl::OkStatus();
}

AgentReport Agent::Report() const {
  MutexLock lock(mutex_);
  return report_;
}

}  // namespace ds::federated
