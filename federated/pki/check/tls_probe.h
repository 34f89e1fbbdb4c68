// One TLS 1.3 handshake that believes nothing, and shows what the other side presented. Only this
// room's sources read it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/file/descriptor.h"
#include "federated/pki/check/endpoint.h"
#include "federated/pki/identity.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

class TlsProbe {
 public:
  // `own` (may be null): what is presented. Unavailable says how far it came.
  static absl::StatusOr<std::unique_ptr<TlsProbe>> Handshake(std::unique_ptr<Descriptor> socket,
                                                             const Endpoint& endpoint,
                                                             const Credentials* own,
                                                             const Deadline& deadline);

  // As the other side sent them, its own first.
  const std::vector<CertificatePtr>& certificates() const { return certificates_; }
  // With TLS 1.3 a server says after the handshake what it thinks of the client's certificate.
  // PermissionDenied: refused, with the alert's name. A server that says nothing has not refused.
  absl::Status Verdict(const Deadline& deadline);

 private:
  TlsProbe(std::unique_ptr<Descriptor> socket, SslContextPtr context, SslPtr ssl);
  // Repeats `step` (an SSL_ function's result) as bytes go and come, to its result > 0.
  template <typename Step>
  absl::Status Drive(Step step, const Deadline& deadline);
  absl::Status Send(const Deadline& deadline);
  absl::Status Receive(const Deadline& deadline);

  const std::unique_ptr<Descriptor> socket_;
  const SslContextPtr context_;
  const SslPtr ssl_;
  BIO* const incoming_;  // of ssl_
  BIO* const outgoing_;  // of ssl_
  std::vector<CertificatePtr> certificates_;
};

}  // namespace ds::federated
