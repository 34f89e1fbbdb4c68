#include "federated/rpc/tls.h"

#include <arpa/inet.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grpc/support/log.h"

namespace ds::federated {

void RequireTls13() {
  // gRPC 1.51 has no option for it, and sets TLS 1.2 as the least itself. It reads the ciphers of
  // TLS 1.2 from here, once; those of 1.3 are others, and stay. This one needs a key that both
  // sides were given beforehand, which neither was: so no handshake of 1.2 finds a cipher.
  static const int done = [] {
    // What goes wrong reaches callers as a status. In its log whoever scans the port could fill the
    // disk.
    if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
    return ::setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
  }();
  (void)done;
}

absl::Status SplitAddress(const std::string& address, std::string* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), port) || *port < 0 || *port > 65535)
    return absl::InvalidArgumentError(
        absl::StrCat("address '", address, "' is not HOST:PORT with a port of 0 to 65535"));
  *host = address.substr(0, colon);
  if (host->front() == '[' && host->back() == ']') *host = host->substr(1, host->size() - 2);
  return absl::OkStatus();
}

bool IsLoopback(const std::string& host) {
  in_addr address = {};  // a name that only begins like one is none
  constexpr uint32_t kLoopbackNet = 127;
  return host == "localhost" || host == "::1" ||
         (inet_pton(AF_INET, host.c_str(), &address) == 1 &&
          ntohl(address.s_addr) >> 24 == kLoopbackNet);
}

}  // namespace ds::federated
