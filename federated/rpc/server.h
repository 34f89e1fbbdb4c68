// The aggregator's port: a FederationService behind gRPC over TLS 1.3, with mutual certificates. No
// gRPC in this header, so that programs with LibTorch may use it. docs/federated-protocol.md.
//
// Who calls comes from the certificate of the connection. At every call, and on open streams at
// least every half second, it is asked whether that certificate has expired or been revoked. Memory
// is bounded whatever callers do: so many bytes under way for one of them, and so many for all; who
// reads or writes slowly waits for itself. A call that makes no progress for `stall` is ended.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/wire/service.h"

namespace ds::federated {

class EnrolmentService;

// Files in PEM. They may be replaced, each by a rename, while the server runs: connections made a
// second later see the new ones. All may be one (ServerFile of federated/pki/): then they cannot be
// seen half replaced.
struct TlsFiles {
  std::string certificates;
  std::string key;
  std::string authority;  // of callers
};

struct ServeOptions {
  std::string address;  // HOST:PORT; port 0: a free one
  TlsFiles tls;
  // No TLS, and callers name themselves: refused but on a loopback address, for tries on one
  // machine.
  bool insecure = false;
  // Asked often, from any thread; must not block. Empty: no certificate is.
  std::function<bool(const std::string& serial)> revoked;

  absl::Duration stall = absl::Seconds(30);        // without progress, after which a call is ended
  absl::Duration handshake = absl::Seconds(10);    // for a connection to be set up
  absl::Duration sign_of_life = absl::Seconds(5);  // between messages of a stream that has no news
  int64_t memory_bytes = int64_t{256} << 20;       // under way for all callers, >= 8 MiB
  int64_t caller_bytes = int64_t{16} << 20;        // for one of them, >= 8 MiB
  int max_connections = 4096;  // more wait in the kernel's queue, then are refused
  int max_calls = 16;          // open at once for one caller; more are told to come later
  int threads = 8;             // that run the service's calls
};

class FederationServer {
 public:
  // Ends open calls with Unavailable, so that clients try again elsewhere or later.
  virtual ~FederationServer() = default;
  virtual int port() const = 0;
  // Calls that are open now, for metrics.
  virtual int64_t open_calls() const = 0;
  // The most bytes that were under way at once, of options.memory_bytes.
  virtual int64_t peak_bytes() const = 0;
};

// `service` and `enrolment` (null: Enrol and Renew are unimplemented) outlive the server, and are
// called from its threads. InvalidArgument names the option or the file that is wrong; Unavailable:
// the address cannot be listened on.
absl::StatusOr<std::unique_ptr<FederationServer>> ServeFederation(const ServeOptions& options,
                                                                  FederationService& service,
                                                                  EnrolmentService* enrolment);

}  // namespace ds::federated
