#include "federated/rpc/watcher.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/retry.h"
#include "federated/wire/codec.h"

namespace ds::federated {

using Operation = StreamCall::Operation;

WatchStream::~WatchStream() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    ending_ = true;
    if (call_ != nullptr) call_->Cancel();
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

absl::StatusOr<Situation> WatchStream::Next(uint64_t known, absl::Duration patience) {
  const Deadline deadline = Deadline::In(patience);
  MutexLock lock(mutex_);
  if (!thread_.joinable()) {
    away_since_ = SteadyTime();
    thread_ = std::thread([this] { Run(); });
  }
  if (told_) {
    // Who asks again wants it tried again.
    told_ = false;
    ended_ = absl::OkStatus();
    changed_.NotifyAll();
  }
  while (true) {
    // Another number, not a greater one: an aggregator that was restarted may count anew.
    if (newest_.has_value() && newest_->number != known) return *newest_;
    if (!ended_.ok() && !absl::IsUnavailable(ended_)) {
      told_ = true;
      return ended_;
    }
    if (!ended_.ok() && SteadyTime() - away_since_ > patience_)
      return Annotate(ended_, "no word from the aggregator");
    if (deadline.IsPast()) return absl::DeadlineExceededError("nothing new from the aggregator");
    changed_.WaitUntil(mutex_, deadline.Moment());
  }
}

void WatchStream::Run() {
  while (true) {
    bool seen = false;
    const absl::Status ended = WatchOnce(&seen);
    if (!Rest(ended, seen)) return;
  }
}

bool WatchStream::Rest(const absl::Status& ended, bool seen) {
  MutexLock lock(mutex_);
  if (seen) {
    backoff_ = kFirstPause;
    away_since_ = SteadyTime();
  }
  ended_ = ended;
  changed_.NotifyAll();
  const Deadline deadline = Deadline::In(Jittered(backoff_));
  backoff_ = std::min(std::max(kFirstPause, 2 * backoff_), kLongestPause);
  while (!ending_) {
    // The aggregator's word stands until somebody who has heard it asks again.
    const bool again = ended_.ok() || absl::IsUnavailable(ended_);
    if (again && deadline.IsPast()) return true;
    if (again) {
      changed_.WaitUntil(mutex_, deadline.Moment());
    } else {
      changed_.Wait(mutex_);
    }
  }
  return false;
}

bool WatchStream::Begin(StreamCall& call) {
  MutexLock lock(mutex_);
  if (!ending_) call_ = &call;
  return !ending_;
}

void WatchStream::Take(Situation situation) {
  MutexLock lock(mutex_);
  newest_ = std::move(situation);
  ended_ = absl::OkStatus();
  changed_.NotifyAll();
}

absl::Status WatchStream::WatchOnce(bool* seen) {
  const std::shared_ptr<grpc::Channel> channel = connection_.Get();
  const CallOptions options = call_options_();
  StreamCall call(channel, "Watch", options);
  if (!Begin(call)) return absl::CancelledError("ending");
  bool silent = false;
  const absl::Status status =
      connection_.Judge(channel, ReadAll(call, options.version, seen, &silent));
  if (silent) connection_.Drop(channel);
  MutexLock lock(mutex_);
  call_ = nullptr;
  return status;
}

absl::Status WatchStream::ReadAll(StreamCall& call, uint32_t version, bool* seen, bool* silent) {
  call.Start();
  bool written = false;
  while (true) {
    const StreamCall::Event event = call.Next();
    *silent = event.operation == Operation::kNone;
    if (*silent) return absl::UnavailableError("the aggregator shows no sign of life");
    if (!event.ok) {
      DS_RETURN_IF_ERROR(call.Finish());
      return absl::UnavailableError("the aggregator ended the stream of situations");
    }
    if (event.operation == Operation::kStart) {
      call.Write(ToBuffer(""));  // WatchRequest has no fields
    } else if (event.operation == Operation::kWrite && !written) {
      written = true;
      call.WritesDone();
      call.Read();
    } else if (event.operation == Operation::kRead) {
      DS_ASSIGN_OR_RETURN(WatchEvent message,
                          DecodeWatchEvent(ToString(call.TakeMessage()), version));
      *seen = true;
      if (!message.sign_of_life) Take(std::move(message.situation));
      call.Read();
    }
  }
}

}  // namespace ds::federated
