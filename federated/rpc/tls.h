// gRPC's TLS set-up, common to both sides. Seen by federated/rpc/'s sources only.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace ds::federated {

// From here on gRPC agrees to TLS 1.3 only, in this process; before its first use of TLS.
void RequireTls13();

// HOST:PORT, or [HOST]:PORT. InvalidArgument otherwise.
absl::Status SplitAddress(const std::string& address, std::string* host, int* port);
// 127.0.0.0/8, ::1, localhost.
bool IsLoopback(const std::string& host);

}  // namespace ds::federated
