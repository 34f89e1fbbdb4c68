// A site's own folder: how it gets its first certificate and each later one. Its private key is
// made there and never leaves it. Every step lasts, so that a kill or a power cut at any point is
// mended by doing the same again.
//   identity.pem   key, certificate, the authority's certificate (identity.h)
//   pending.key    a key that a request was made for and that has no certificate yet
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/pki/wall_time.h"
#include "federated/wire/messages.h"

namespace ds::federated {

std::string IdentityFile(const std::string& folder);

// The request (PEM) for the pending key, which is made where there is none; the folder too.
absl::StatusOr<std::string> PrepareRequest(const std::string& folder, const std::string& site,
                                           const std::string& role);

// Makes the pending key and `reply` the site's identity, if the reply is what was asked for: of an
// authority with `fingerprint` (SHA-256), for the pending key, this site and role, in force.
// PermissionDenied otherwise, and nothing is changed.
absl::Status InstallCertificate(const std::string& folder, const EnrolReply& reply,
                                absl::string_view fingerprint, const std::string& site,
                                const std::string& role, const WallClock& clock = MachineClock());

// The whole of it: `send` hands the request to the authority, over the network or by hand.
absl::Status EnrolSite(const std::string& folder, absl::string_view token, const std::string& site,
                       const std::string& role,
                       const std::function<absl::StatusOr<EnrolReply>(const EnrolRequest&)>& send,
                       const WallClock& clock = MachineClock());

// Renews where half of the certificate's life is over; false: it is not due yet. Cheap, to be
// called every minute or so; an error is one to try again after.
absl::StatusOr<bool> RenewIfDue(
    const std::string& folder,
    const std::function<absl::StatusOr<EnrolReply>(const RenewRequest&)>& send,
    const WallClock& clock = MachineClock());

}  // namespace ds::federated
