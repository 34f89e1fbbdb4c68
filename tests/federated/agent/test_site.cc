#include "tests/federated/agent/test_site.h"

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace ds::federated {
namespace {

absl::Status Dead() { return absl::UnavailableError("this process has crashed"); }

}  // namespace

absl::Status CrashPoint::Step(const std::string& name,
                              const std::function<absl::Status()>& effect) {
  if (dead) return Dead();
  if (++steps != at && (in.empty() || !absl::StartsWith(name, in))) return effect();
  if (with_effect) effect().IgnoreError();
  dead = true;
  return Dead();
}

namespace {

template <typename Reply>
absl::StatusOr<Reply> StepWithReply(CrashPoint& crash, const std::string& name,
                                    const std::function<absl::StatusOr<Reply>()>& call) {
  absl::StatusOr<Reply> reply = Dead();
  DS_RETURN_IF_ERROR(crash.Step(name, [&] {
    reply = call();
    return reply.status();
  }));
  return reply;
}

}  // namespace

absl::StatusOr<HelloReply> CrashingClient::Hello(const HelloRequest& request) {
  return StepWithReply<HelloReply>(crash_, "hello", [&] { return client_.Hello(request); });
}
absl::StatusOr<JoinReply> CrashingClient::Join(const JoinRequest& request) {
  return StepWithReply<JoinReply>(crash_, "join", [&] { return client_.Join(request); });
}
// Not a step of its own: it changes nothing, and how often it is called is chance.
absl::StatusOr<Situation> CrashingClient::Next(uint64_t known, absl::Duration patience) {
  if (crash_.dead) return Dead();
  return client_.Next(known, patience);
}
absl::StatusOr<CommitReply> CrashingClient::Commit(const CommitRequest& request) {
  return StepWithReply<CommitReply>(crash_, "commit", [&] { return client_.Commit(request); });
}
absl::StatusOr<SecureReply> CrashingClient::Secure(const SecureRequest& request) {
  return StepWithReply<SecureReply>(crash_, "secure", [&] { return client_.Secure(request); });
}
absl::Status CrashingClient::Upload(const std::string& digest, const BlobReader& blob) {
  return crash_.Step("upload", [&] { return client_.Upload(digest, blob); });
}
absl::Status CrashingClient::Download(const std::string& digest, BlobWriter& into) {
  return crash_.Step("download", [&] { return client_.Download(digest, into); });
}
absl::StatusOr<int64_t> CrashingClient::DownloadSize(const std::string& digest) {
  return StepWithReply<int64_t>(crash_, "size", [&] { return client_.DownloadSize(digest); });
}

absl::Status CrashingVault::Put(const std::string& name, absl::string_view value) {
  return crash_.Step("put " + name, [&] { return vault_->Put(name, value); });
}
absl::StatusOr<std::string> CrashingVault::Get(const std::string& name) const {
  if (crash_.dead) return Dead();
  return vault_->Get(name);
}
absl::Status CrashingVault::Remove(const std::string& name) {
  return crash_.Step("remove " + name, [&] { return vault_->Remove(name); });
}
absl::StatusOr<std::vector<std::string>> CrashingVault::Names() const {
  if (crash_.dead) return Dead();
  return vault_->Names();
}

absl::StatusOr<TrainedUpdate> HeldTrainer::Train(int64_t round, absl::Span<const float> weights,
                                                 absl::Span<const float> control,
                                                 absl::Span<const float> own_control) {
  training = true;
  while (!go && !interrupted) absl::SleepFor(absl::Milliseconds(1));
  if (interrupted.exchange(false) && !go) {
    gave_up = true;
    return absl::CancelledError("interrupted");
  }
  return trainer_->Train(round, weights, control, own_control);
}

RunAgentOptions SiteHome::Quick() {
  RunAgentOptions options;
  options.first_pause = absl::Milliseconds(1);
  options.longest_pause = absl::Milliseconds(20);
  options.give_up_after = absl::Seconds(60);
  options.look_every = absl::Milliseconds(20);
  return options;
}

Caller SiteHome::caller() const {
  return {.site = site, .role = "site", .certificate = identity->certificate(), .serial = site};
}

absl::StatusOr<AgentReport> LiveOnce(const SiteHome& home, FederationService& service,
                                     CrashPoint& crash, LocalTrainer* trainer) {
  InProcessClient link(service, home.caller(), /*chunk_bytes=*/100);
  FaultyClient faulty(link, home.faults);
  CrashingClient client(faulty, crash);
  std::shared_ptr<SiteFiles> files = home.files;
  if (files == nullptr) {
    DS_ASSIGN_OR_RETURN(files, SiteFiles::Open(home.folder + "/files"));
  }
  std::shared_ptr<Vault> vault = home.vault;
  if (vault == nullptr) {
    DS_ASSIGN_OR_RETURN(vault, OpenFileVault(home.folder + "/vault"));
  }
  const std::unique_ptr<LocalTrainer> own = MakeVirtualTrainer(home.problem, home.site);
  const AgentParts parts = {.client = &client,
                            .trainer = trainer == nullptr ? own.get() : trainer,
                            .files = files.get(),
                            .vault = std::make_shared<CrashingVault>(std::move(vault), crash),
                            .identity = home.identity};
  return RunAgent(home.options, parts, &crash.dead);
}

}  // namespace ds::federated
