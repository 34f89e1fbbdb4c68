#include "comm/nccl/nccl_session.h"

#include <ctime>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/call_thread.h"

namespace ds {
namespace {

// A wait first looks often, for latency, then leaves its core to others.
constexpr int kEagerPolls = 200;
constexpr long kSleepNs = 20'000;

}  // namespace

absl::StatusOr<std::unique_ptr<NcclSession>> NcclSession::Create(NcclRuntime runtime,
                                                                 const NcclUniqueId& id,
                                                                 const Member& member,
                                                                 Deadline deadline) {
  std::unique_ptr<NcclSession> session(new NcclSession(std::move(runtime), member));
  DS_ASSIGN_OR_RETURN(session->stream_, session->runtime_.device->CreateStream());
  DS_ASSIGN_OR_RETURN(session->comm_,
                      session->runtime_.nccl->StartInit(member.size, id, member.rank));
  const absl::Status status = session->AwaitSettled(deadline, "all ranks to join");
  if (!status.ok()) session->Abort();
  DS_RETURN_IF_ERROR(status);
  return session;
}

NcclSession::~NcclSession() {
  if (comm_ != nullptr) Close();
  if (stream_ != nullptr) runtime_.device->DestroyStream(stream_);
}

void NcclSession::Close() {
  absl::Status status = runtime_.nccl->Finalize(comm_);
  if (status.ok()) status = AwaitSettled(Deadline::In(member_.grace), "all ranks to close");
  if (status.ok()) {
    (void)runtime_.nccl->Destroy(std::exchange(comm_, nullptr));
  } else {
    Abort();
  }
}

absl::Status NcclSession::Copy(std::byte* to, const std::byte* from, size_t bytes) {
  return runtime_.device->CopyAsync(to, from, bytes, stream_);
}

absl::Status NcclSession::Exchange(absl::Span<const Outgoing> outgoing,
                                   absl::Span<const Incoming> incoming, Deadline deadline) {
  DS_RETURN_IF_ERROR(runtime_.nccl->GroupStart());
  absl::Status status;
  for (size_t i = 0; i < incoming.size() && status.ok(); ++i) {
    status = runtime_.nccl->Receive(incoming[i].into, incoming[i].bytes, incoming[i].peer, comm_,
                                    stream_);
  }
  for (size_t i = 0; i < outgoing.size() && status.ok(); ++i) {
    status =
        runtime_.nccl->Send(outgoing[i].from, outgoing[i].bytes, outgoing[i].peer, comm_, stream_);
  }
  // A group left open would swallow this thread's calls on other communicators.
  const absl::Status end = runtime_.nccl->GroupEnd();
  DS_RETURN_IF_ERROR(status);
  DS_RETURN_IF_ERROR(end);
  // What is enqueued before NCCL has launched would run before it.
  return AwaitSettled(deadline, "NCCL to launch");
}

absl::Status NcclSession::AwaitIdle(Deadline deadline) {
  return Await(deadline, "the other ranks", [this]() -> absl::StatusOr<bool> {
    DS_RETURN_IF_ERROR(runtime_.nccl->Settled(comm_).status());
    return runtime_.device->Idle(stream_);
  });
}

absl::Status NcclSession::AwaitSettled(Deadline deadline, const char* what) {
  return Await(deadline, what, [this] { return runtime_.nccl->Settled(comm_); });
}

absl::Status NcclSession::Await(Deadline deadline, const char* what,
                                const std::function<absl::StatusOr<bool>()>& done) {
  Patience patience(deadline);
  for (int polls = 0;; ++polls) {
    DS_ASSIGN_OR_RETURN(const bool through, done());
    if (through) return absl::OkStatus();
    if (polls < kEagerPolls) continue;
    const timespec pause = {0, kSleepNs};
    nanosleep(&pause, nullptr);
    if (patience.IsOver()) {
      return absl::DeadlineExceededError(
          absl::StrCat("NCCL: rank ", member_.rank, " waited too long for ", what,
                       "; a rank is gone or stuck (raise comm.timeout_s if it is merely slow)"));
    }
  }
}

bool NcclSession::AbortOnOwnThread() {
  CallThread thread;
  return thread.Run(
      [runtime = runtime_, device = member_.device, comm = std::exchange(comm_, nullptr)] {
        if (runtime.device->Select(device).ok()) (void)runtime.nccl->Abort(comm);
      },
      Deadline::In(member_.grace));
}

bool NcclSession::Abort() {
  if (comm_ == nullptr) return true;
  bool stopped = AbortOnOwnThread();
  if (stopped) {
    const absl::Status idle = Await(Deadline::In(member_.grace), "the device to stop",
                                    [this] { return runtime_.device->Idle(stream_); });
    // An error of the work is an end of it.
    stopped = !absl::IsDeadlineExceeded(idle);
  }
  if (!stopped) {
    Log(LogLevel::kWarning,
        "NCCL did not abort in time; its memory stays allocated until the program ends");
    stream_ = nullptr;
  }
  return stopped;
}

}  // namespace ds
