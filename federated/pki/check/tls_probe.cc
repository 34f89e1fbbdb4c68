#include "federated/pki/check/tls_probe.h"

#include <openssl/err.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file/file_system.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr unsigned char kHttp2[] = {2, 'h', '2'};  // as gRPC asks for it

BIO* NewBio() {
  BIO* const bio = BIO_new(BIO_s_mem());
  DS_CHECK(bio != nullptr) << "no memory";
  return bio;
}

// The certificates are shown, not checked: Diagnose does that, a step at a time.
int BelieveNothing(X509_STORE_CTX*, void*) { return 1; }

absl::Status Present(SSL_CTX* context, const Credentials& own) {
  DS_ASSIGN_OR_RETURN(const CertificatePtr certificate, ParseCertificate(own.certificate));
  DS_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(own.key));
  if (SSL_CTX_use_certificate(context, certificate.get()) == 1 &&
      SSL_CTX_use_PrivateKey(context, key.get()) == 1)
    return absl::OkStatus();
  return OpenSslStatus(absl::StatusCode::kInvalidArgument, "the certificate cannot be used");
}

}  // namespace

TlsProbe::TlsProbe(std::unique_ptr<Descriptor> socket, SslContextPtr context, SslPtr ssl)
    : socket_(std::move(socket)),
      context_(std::move(context)),
      ssl_(std::move(ssl)),
      incoming_(NewBio()),
      outgoing_(NewBio()) {
  SSL_set_bio(ssl_.get(), incoming_, outgoing_);
}

absl::StatusOr<std::unique_ptr<TlsProbe>> TlsProbe::Handshake(std::unique_ptr<Descriptor> socket,
                                                              const Endpoint& endpoint,
                                                              const Credentials* own,
                                                              const Deadline& deadline) {
  SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_3_VERSION) != 1)
    return OpenSslStatus(absl::StatusCode::kInternal, "OpenSSL has no TLS 1.3");
  SSL_CTX_set_cert_verify_callback(context.get(), BelieveNothing, nullptr);
  SSL_CTX_set_alpn_protos(context.get(), kHttp2, sizeof(kHttp2));
  if (own != nullptr) DS_RETURN_IF_ERROR(Present(context.get(), *own));
  SslPtr ssl(SSL_new(context.get()));
  if (ssl == nullptr) return OpenSslStatus(absl::StatusCode::kInternal, "cannot begin TLS");
  if (!endpoint.is_address) SSL_set_tlsext_host_name(ssl.get(), endpoint.host.c_str());
  std::unique_ptr<TlsProbe> probe(
      new TlsProbe(std::move(socket), std::move(context), std::move(ssl)));
  SSL* const raw = probe->ssl_.get();
  DS_RETURN_IF_ERROR(probe->Drive([raw] { return SSL_connect(raw); }, deadline));
  const STACK_OF(X509)* const chain = SSL_get_peer_cert_chain(raw);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    X509* const certificate = sk_X509_value(chain, i);
    X509_up_ref(certificate);
    probe->certificates_.emplace_back(certificate);
  }
  return probe;
}

template <typename Step>
absl::Status TlsProbe::Drive(Step step, const Deadline& deadline) {
  while (true) {
    ERR_clear_error();
    const int result = step();
    const int error = SSL_get_error(ssl_.get(), result);
    absl::Status failed;
    if (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) {
      failed = error == SSL_ERROR_ZERO_RETURN
                   ? absl::UnavailableError("the other side has ended the connection")
                   : OpenSslStatus(absl::StatusCode::kUnavailable, "TLS fails");
    }
    DS_RETURN_IF_ERROR(Send(deadline));  // the alert too, where it failed
    if (!failed.ok() || result > 0) return failed;
    DS_RETURN_IF_ERROR(Receive(deadline));
  }
}

absl::Status TlsProbe::Send(const Deadline& deadline) {
  std::array<char, 4096> bytes;
  for (int size = 0; (size = BIO_read(outgoing_, bytes.data(), bytes.size())) > 0;) {
    for (int sent = 0; sent < size;) {
      if (!WaitFor(socket_->get(), POLLOUT, deadline))
        return absl::DeadlineExceededError("the other side takes no bytes");
      // Not write(): a connection that was closed would end the process (SIGPIPE).
      const ssize_t went = ::send(socket_->get(), bytes.data() + sent,
                                  static_cast<size_t>(size - sent), MSG_NOSIGNAL);
      if (went >= 0) {
        sent += static_cast<int>(went);
      } else if (errno != EAGAIN && errno != EINTR) {
        return absl::UnavailableError(ErrnoStatus(errno, "cannot send").message());
      }
    }
  }
  return absl::OkStatus();
}

absl::Status TlsProbe::Receive(const Deadline& deadline) {
  std::array<char, 4096> bytes;
  while (true) {
    if (!WaitFor(socket_->get(), POLLIN, deadline))
      return absl::DeadlineExceededError("the other side says nothing");
    const ssize_t came = ::recv(socket_->get(), bytes.data(), bytes.size(), 0);
    if (came > 0) {
      BIO_write(incoming_, bytes.data(), static_cast<int>(came));
      return absl::OkStatus();
    }
    if (came == 0) return absl::UnavailableError("the other side has closed the connection");
    if (errno != EAGAIN && errno != EINTR)
      return absl::UnavailableError(ErrnoStatus(errno, "cannot receive").message());
  }
}

absl::Status TlsProbe::Verdict(const Deadline& deadline) {
  std::array<char, 256> bytes;
  const absl::Status answer = Drive(
      [&] { return SSL_read(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())); }, deadline);
  if (answer.ok() || absl::IsDeadlineExceeded(answer)) return absl::OkStatus();
  return absl::PermissionDeniedError(answer.message());
}

}  // namespace ds::federated
