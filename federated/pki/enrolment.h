// How a site gets its certificate, whatever carries the calls: the one service that is open to
// callers without a certificate.
#pragma once

#include "absl/status/statusor.h"
#include "federated/wire/messages.h"
#include "federated/wire/service.h"

namespace ds::federated {

// Thread-safe. Both are idempotent for one key: the answer that was lost is given again.
class EnrolmentService {
 public:
  virtual ~EnrolmentService() = default;
  // PermissionDenied: the token is unknown, expired, used for another key, of another authority, or
  // not for the site and role that the request names. InvalidArgument: malformed. Unavailable: the
  // authority's disk failed, and the token may be used again.
  virtual absl::StatusOr<EnrolReply> Enrol(const EnrolRequest& request) = 0;
  // For callers with a certificate in force. FailedPrecondition before half of its life is over;
  // PermissionDenied: revoked, or another site's request; ResourceExhausted: renewed too often.
  virtual absl::StatusOr<EnrolReply> Renew(const Caller& caller, const RenewRequest& request) = 0;
};

}  // namespace ds::federated
