// An agent's way to the aggregator over gRPC and TLS 1.3. No gRPC in this header, so that programs
// with LibTorch may use it. docs/federated-protocol.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/wire/service.h"

namespace ds::federated {

// PEM.
struct TlsIdentity {
  std::string certificates;  // the site's, then its chain; empty: none, for Enrol
  std::string key;
  std::string authority;  // of the aggregator's certificate
};

struct ConnectOptions {
  std::string address;  // HOST:PORT; HOST is what the aggregator's certificate must be for
  // Asked before every call, from any thread: another pointer than before makes a new connection,
  // so a renewed certificate is used at once, and calls under way go on.
  std::function<std::shared_ptr<const TlsIdentity>()> identity;
  // No TLS: this site's name is just said. Loopback only.
  bool insecure = false;
  std::string insecure_site;

  // A call that made no progress for so long is tried again, on a new connection where need be...
  absl::Duration stall = absl::Seconds(15);
  // ... and given up as Unavailable once there was none for so long.
  absl::Duration patience = absl::Seconds(120);
};

// A FederationClient, and what only agents' set-up and renewal need. Calls that fail as Unavailable
// are repeated until `patience` ends: every call of the service may be.
class RpcClient : public FederationClient {
 public:
  // Without a certificate.
  virtual absl::StatusOr<EnrolReply> Enrol(const EnrolRequest& request) = 0;
  virtual absl::StatusOr<EnrolReply> Renew(const RenewRequest& request) = 0;
};

// Makes no connection yet. InvalidArgument: the options contradict each other.
absl::StatusOr<std::unique_ptr<RpcClient>> ConnectFederation(const ConnectOptions& options);

}  // namespace ds::federated
