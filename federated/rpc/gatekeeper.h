// Who may make which call: identity, role, revocation and wire version, from what the connection
// and the call's metadata say. Seen by federated/rpc/'s sources only.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/rpc/server.h"
#include "grpcpp/generic/async_generic_service.h"

namespace ds::federated {

// Methods are called /ds.federated.v1.Federation/NAME.
constexpr char kServicePrefix[] = "/ds.federated.v1.Federation/";
// Metadata: the wire version that Hello agreed on, absent for 1; the site, where there is no TLS.
constexpr char kVersionKey[] = "ds-wire-version";
constexpr char kSiteKey[] = "ds-site";

class Gatekeeper {
 public:
  explicit Gatekeeper(const ServeOptions& options) : options_(options) {}

  // Unauthenticated: no certificate; PermissionDenied: revoked, or not of a role that may call
  // `method`; FailedPrecondition: a wire version that is not spoken here.
  absl::StatusOr<CallFacts> Admit(const std::string& method,
                                  const grpc::GenericCallbackServerContext& context);

 private:
  absl::StatusOr<CallFacts> Identify(const grpc::GenericCallbackServerContext& context);
  absl::StatusOr<CallFacts> ReadFacts(const std::string& pem);

  const ServeOptions& options_;
  Mutex mutex_;
  // By certificate; emptied when it is full.
  std::unordered_map<std::string, CallFacts> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
