// Keeps the Watch stream open, and the newest situation. Seen by federated/rpc/'s sources only.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "federated/rpc/channel.h"
#include "federated/rpc/client_call.h"
#include "federated/wire/messages.h"

namespace ds::federated {

class WatchStream {
 public:
  // `call_options`: asked before every attempt.
  WatchStream(Connection& connection, std::function<CallOptions()> call_options,
              absl::Duration patience)
      : connection_(connection), call_options_(std::move(call_options)), patience_(patience) {}
  ~WatchStream();

  // FederationClient::Next. The first call begins to watch.
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience);

 private:
  void Run();
  // One stream, until it ends. `*seen`: a message came.
  absl::Status WatchOnce(bool* seen);
  // `*silent`: it ended because nothing came any more.
  absl::Status ReadAll(StreamCall& call, uint32_t version, bool* seen, bool* silent);
  // False: this object is ending.
  bool Begin(StreamCall& call) ABSL_LOCKS_EXCLUDED(mutex_);
  void Take(Situation situation) ABSL_LOCKS_EXCLUDED(mutex_);
  // After an end of the stream: until it is worth trying again. False as above.
  bool Rest(const absl::Status& ended, bool seen) ABSL_LOCKS_EXCLUDED(mutex_);

  Connection& connection_;
  const std::function<CallOptions()> call_options_;
  const absl::Duration patience_;
  Mutex mutex_;
  CondVar changed_;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  StreamCall* call_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::optional<Situation> newest_ ABSL_GUARDED_BY(mutex_);
  // Why there is no stream now, and since when (SteadyTime).
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
  bool told_ ABSL_GUARDED_BY(mutex_) = false;  // Next has returned ended_
  absl::Duration away_since_ ABSL_GUARDED_BY(mutex_);
  absl::Duration backoff_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
