// A way to a server that can be bad: it carries a connection's bytes on, until so many have gone
// one way, and then cuts it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "base/file/descriptor.h"
#include "base/mutex.h"

namespace ds::federated {

class Relay {
 public:
  struct Limits {
    int64_t up = INT64_MAX, down = INT64_MAX;  // bytes, after which the connection is cut
  };
  // To 127.0.0.1:`port`. `limits`: asked for each connection.
  Relay(int port, std::function<Limits()> limits);
  ~Relay();

  int port() const { return port_; }
  int connections() const { return connections_; }

 private:
  void Accept();
  void Carry(std::shared_ptr<Descriptor> client, Limits limits);

  const int target_;
  const std::function<Limits()> limits_;
  int port_ = 0;
  std::unique_ptr<Descriptor> socket_;
  std::atomic<int> connections_{0};
  std::atomic<bool> ending_{false};
  std::vector<std::thread> carriers_;
  std::thread acceptor_;
};

// A connection to 127.0.0.1:`port`; -1 where there is none.
int ConnectTo(int port);

}  // namespace ds::federated
