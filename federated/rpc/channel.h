// The client's connection, made anew where it must be. Seen by federated/rpc/'s sources only.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "federated/rpc/client.h"
#include "grpcpp/channel.h"

namespace ds::federated {

// Thread-safe.
class Connection {
 public:
  explicit Connection(const ConnectOptions& options) : options_(options) {}

  static absl::Status Check(const ConnectOptions& options);

  // The one for the present identity.
  std::shared_ptr<grpc::Channel> Get();
  // Calls on `channel` stand still: the next Get makes another one.
  void Drop(const std::shared_ptr<grpc::Channel>& channel);

 private:
  std::shared_ptr<grpc::Channel> Make(const TlsIdentity* identity) const;

  const ConnectOptions& options_;
  Mutex mutex_;
  std::shared_ptr<const TlsIdentity> identity_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
