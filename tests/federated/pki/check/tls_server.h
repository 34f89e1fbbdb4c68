// A small TLS server for tests, on a port of its own, that is as wrong as the test wants it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/file/descriptor.h"
#include "federated/pki/identity.h"
#include "federated/pki/x509/openssl.h"

namespace ds::federated {

struct TlsServerOptions {
  Credentials credentials;  // what it presents
  std::string trusted;      // PEM: whose clients it takes; empty: any, and it asks for none
  int newest = TLS1_3_VERSION;
  enum class Speaks { kTls, kNothing, kHttp } speaks = Speaks::kTls;
};

class TlsServer {
 public:
  explicit TlsServer(TlsServerOptions options)
      : options_(std::move(options)), socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const raw = reinterpret_cast<sockaddr*>(&address);
    DS_CHECK(::bind(socket_.get(), raw, size) == 0 && ::listen(socket_.get(), 8) == 0 &&
             ::getsockname(socket_.get(), raw, &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Run(); });
  }
  ~TlsServer() {
    stopped_ = true;
    thread_.join();
  }
  std::string Address(const std::string& host = "127.0.0.1") const {
    return absl::StrCat(host, ":", port_);
  }

 private:
  void Run() {
    while (!stopped_) {
      pollfd wanted = {socket_.get(), POLLIN, 0};
      if (::poll(&wanted, 1, 10) <= 0) continue;
      const Descriptor client(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (options_.speaks == TlsServerOptions::Speaks::kTls) Serve(client.get());
      if (options_.speaks == TlsServerOptions::Speaks::kHttp) {
        const std::string answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
        ::send(client.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      // Until the other side goes.
      for (std::string rest(4096, '\0'); !stopped_;) {
        pollfd more = {client.get(), POLLIN, 0};
        if (::poll(&more, 1, 10) > 0 && ::recv(client.get(), rest.data(), rest.size(), 0) <= 0)
          break;
      }
    }
  }

  void Serve(int client) {
    const SslContextPtr context(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_max_proto_version(context.get(), options_.newest);
    const auto chain = *ParseCertificates(options_.credentials.Chain());
    const auto key = *ParseKey(options_.credentials.key);
    SSL_CTX_use_certificate(context.get(), chain[0].get());
    SSL_CTX_use_PrivateKey(context.get(), key.get());
    for (size_t i = 1; i < chain.size(); ++i)
      SSL_CTX_add1_chain_cert(context.get(), chain[i].get());
    if (!options_.trusted.empty()) {
      const auto root = *ParseCertificate(options_.trusted);
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context.get()), root.get());
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    const SslPtr ssl(SSL_new(context.get()));
    SSL_set_fd(ssl.get(), client);
    if (SSL_accept(ssl.get()) == 1) SSL_write(ssl.get(), "settings", 8);
    ERR_clear_error();
  }

  const TlsServerOptions options_;
  const Descriptor socket_;
  int port_ = 0;
  std::atomic<bool> stopped_{false};
  std::thread thread_;
};

}  // namespace ds::federated
