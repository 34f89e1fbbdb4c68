// host:port, resolved and connected to, a step at a time so that a failure has a name. Only this
// room's sources read it.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/file/descriptor.h"

namespace ds::federated {

struct Endpoint {
  std::string host;  // a name or an IP address, without brackets
  std::string port;  // 1..65535
  bool is_address = false;
};

struct SocketAddress {
  sockaddr_storage bytes = {};
  socklen_t size = 0;
  std::string text;  // "192.0.2.7"
};

// "hub.example.org:7443", "192.0.2.7:7443", "[::1]:7443". InvalidArgument.
absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view address);
// NotFound. Waits as long as the machine's resolver is set to.
absl::StatusOr<std::vector<SocketAddress>> Resolve(const Endpoint& endpoint);
// To the first that answers; not blocking. Unavailable.
absl::StatusOr<std::unique_ptr<Descriptor>> Connect(const Endpoint& endpoint,
                                                    const std::vector<SocketAddress>& addresses,
                                                    const Deadline& deadline);
// `events` (poll.h) have come; false: the deadline has.
bool WaitFor(int fd, short events, const Deadline& deadline);  // NOLINT(google-runtime-int)

}  // namespace ds::federated
