#include "federated/rpc/calls/server_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "federated/pki/wall_time.h"
#include "federated/rpc/buffers.h"
#include "federated/wire/codec.h"

namespace ds::federated {

absl::Status CheckInForce(const ServeOptions& options, const CallFacts& facts) {
  if (facts.caller.serial.empty()) return absl::OkStatus();
  if (options.revoked && options.revoked(facts.caller.serial))
    return absl::PermissionDeniedError(
        absl::StrCat("the certificate of '", facts.caller.site, "' has been revoked"));
  if (MachineClock()() > facts.expires)
    return absl::PermissionDeniedError(absl::StrCat("the certificate of '", facts.caller.site,
                                                    "' expired at ", DateText(facts.expires)));
  return absl::OkStatus();
}

absl::Status ServerCore::Add(const std::shared_ptr<ServerCall>& call) {
  MutexLock lock(mutex_);
  if (closed_) return absl::UnavailableError("the aggregator is stopping");
  const std::string& site = call->caller().site;
  int& calls = calls_of_[site];
  if (calls >= options.max_calls) {
    // Not ResourceExhausted: after a bad quarter of an hour an honest site has calls open whose
    // connections are dead, and they end by themselves.
    return absl::UnavailableError(absl::StrCat(
        site.empty() ? "callers without a certificate have" : "site '" + site + "' has", " ", calls,
        " calls open already: wait for some to end"));
  }
  ++calls;
  calls_.emplace(call.get(), call);
  return absl::OkStatus();
}

void ServerCore::Remove(const ServerCall& call) {
  std::shared_ptr<ServerCall> last;  // ends without the lock
  MutexLock lock(mutex_);
  const auto found = calls_.find(&call);
  if (found == calls_.end()) return;
  last = std::move(found->second);
  calls_.erase(found);
  const auto calls = calls_of_.find(last->caller().site);
  if (--calls->second == 0) calls_of_.erase(calls);
  changed_.NotifyAll();
}

std::vector<std::shared_ptr<ServerCall>> ServerCore::Calls() const {
  MutexLock lock(mutex_);
  std::vector<std::shared_ptr<ServerCall>> calls;
  calls.reserve(calls_.size());
  for (const auto& [key, call] : calls_) calls.push_back(call);
  return calls;
}

int64_t ServerCore::size() const {
  MutexLock lock(mutex_);
  return static_cast<int64_t>(calls_.size());
}

void ServerCore::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

bool ServerCore::WaitUntilEmpty(absl::Duration patience) {
  const Deadline deadline = Deadline::In(patience);
  MutexLock lock(mutex_);
  while (!calls_.empty() && !deadline.IsPast()) changed_.WaitUntil(mutex_, deadline.Moment());
  return calls_.empty();
}

void ServerCall::Progress() { moved_ = SteadyTime(); }

void ServerCall::Read(Budget& budget) {
  budget.Take(caller().site, kMaxMessageBytes,
              [self = shared_from_this()](Budget::Share share) { self->Read(std::move(share)); });
}

void ServerCall::Read(Budget::Share share) {
  MutexLock lock(mutex_);
  if (finished_) return;
  share_ = std::move(share);
  Progress();
  reading_ = true;
  StartRead(&incoming_);
}

void ServerCall::Write(grpc::ByteBuffer message) {
  if (finished_) return;
  outgoing_ = std::move(message);
  writing_ = true;
  written_ = SteadyTime();
  StartWrite(&outgoing_);
}

void ServerCall::WriteAndFinish(grpc::ByteBuffer message) {
  if (finished_) return;
  finished_ = true;
  outgoing_ = std::move(message);
  StartWriteAndFinish(&outgoing_, grpc::WriteOptions(), grpc::Status::OK);
}

void ServerCall::Finish(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  const bool blocked = writing_;
  grpc::ServerGenericBidiReactor::Finish(ToGrpc(status));
  // The status would wait behind a message that the caller does not read.
  if (blocked && !status.ok()) context_.TryCancel();
}

void ServerCall::End(const absl::Status& status) {
  MutexLock lock(mutex_);
  Finish(status);
}

void ServerCall::OnDone() {
  {
    MutexLock lock(mutex_);
    done_ = true;
  }
  LetGo();
  core_.Remove(*this);
}

void ServerCall::Tick() {
  const absl::Status valid = CheckInForce(core_.options, facts_);
  if (!valid.ok()) return End(valid);
  MutexLock lock(mutex_);
  if (done_) return;
  const absl::Duration now = SteadyTime();
  if (moved_ == absl::ZeroDuration()) moved_ = written_ = now;
  const bool stalled = now - moved_ > Patience();
  if (finished_) {
    // Its last message is not read.
    if (stalled) context_.TryCancel();
  } else if (stalled && WaitsForCaller()) {
    Finish(absl::DeadlineExceededError(absl::StrCat(
        "no progress for ", absl::FormatDuration(Patience()), ": the call was given up")));
  } else {
    Beat(now - written_);
  }
}

}  // namespace ds::federated
