// The listening socket, outside gRPC: gRPC 1.51 has no bound on connections. Seen by
// federated/rpc/'s sources only.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file/descriptor.h"

namespace ds::federated {

class Listener {
 public:
  // Unavailable: the address cannot be listened on.
  static absl::StatusOr<std::unique_ptr<Listener>> Open(const std::string& host, int port,
                                                        int max_connections);
  ~Listener();

  int port() const { return port_; }
  // Gives connections to `accepted`, which owns the descriptor from there on, from a thread of its
  // own. Once.
  void Start(std::function<void(int fd)> accepted);
  // No connection is accepted any more.
  void Stop();

 private:
  explicit Listener(size_t max_connections) : max_connections_(max_connections) {}

  void Accept(const std::function<void(int fd)>& accepted);
  // Forgets connections that have ended. True where another one may come.
  bool HasRoom();

  const size_t max_connections_;
  size_t sweep_at_ = 0;
  int port_ = 0;
  std::unique_ptr<Descriptor> socket_, stop_;
  // A second descriptor of every connection that is open: gRPC closes its own, and does not say so.
  std::vector<std::unique_ptr<Descriptor>> open_;
  std::thread thread_;
};

}  // namespace ds::federated
