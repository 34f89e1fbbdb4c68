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
  // What a call on `channel` ended with. A refusal of a certificate that has been renewed since
  // (the old one expires under a stream that is still open) is Unavailable: to be tried again.
  absl::Status Judge(const std::shared_ptr<grpc::Channel>& channel, const absl::Status& ended);

 private:
  std::shared_ptr<grpc::Channel> Make(const TlsIdentity* identity) const;

  const ConnectOptions& options_;
  Mutex mutex_;
  std::shared_ptr<const TlsIdentity> identity_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<grpc::Channel> channel_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
