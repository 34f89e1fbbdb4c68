// Why a site cannot reach its aggregator: what ds_agent check shows. And how a new site gets to
// know the authority. docs/federated-pki.md.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "federated/pki/wall_time.h"
#include "federated/wire/messages.h"

namespace ds::federated {

struct CheckLine {
  std::string name;  // "name", "port", "TLS", "server's certificate", ...
  bool passed = false;
  std::string detail;  // what was found
  std::string mend;    // where it has not passed: what to do
};

struct DiagnoseOptions {
  std::string address;                           // host:port
  std::string identity;                          // file (identity.h)
  absl::Duration patience = absl::Seconds(10);   // for each step
  absl::Duration most_skew = absl::Seconds(60);  // between the two clocks
  WallClock clock = MachineClock();
  // Says Hello over the real transport, with the identity; null: clock and version are not checked.
  std::function<absl::StatusOr<HelloReply>(const HelloRequest&)> hello;
};

// The steps in their order, up to the first that has not passed: address, own certificate, name,
// port, TLS, server's certificate, own certificate at the server, version, clock.
std::vector<CheckLine> DiagnoseConnection(const DiagnoseOptions& options);

// The certificate (PEM) of the authority with `fingerprint`, as the aggregator at `address`
// presents it, once the aggregator has proved to be that authority's: from then on an ordinary
// connection can be made, over which the token's secret may go. PermissionDenied: somebody else
// answers.
absl::StatusOr<std::string> FetchAuthority(const std::string& address,
                                           absl::string_view fingerprint,
                                           absl::Duration patience = absl::Seconds(10),
                                           const WallClock& clock = MachineClock());

}  // namespace ds::federated
