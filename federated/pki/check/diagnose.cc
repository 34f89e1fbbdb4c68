#include "federated/pki/check/diagnose.h"

#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "federated/pki/check/endpoint.h"
#include "federated/pki/check/tls_probe.h"
#include "federated/pki/identity.h"
#include "federated/pki/verify.h"

namespace ds::federated {
namespace {

// How long a server may take to refuse a certificate; one that accepts it says so at once (HTTP/2
// begins with its settings), or waits for us.
constexpr absl::Duration kVerdict = absl::Seconds(1);

absl::Status CheckName(X509* certificate, const CertificateFacts& facts, const Endpoint& endpoint) {
  const bool named = endpoint.is_address
                         ? X509_check_ip_asc(certificate, endpoint.host.c_str(), 0) == 1
                         : X509_check_host(certificate, endpoint.host.data(), endpoint.host.size(),
                                           0, nullptr) == 1;
  if (named) return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("the server's certificate is for ",
                                                  absl::StrJoin(facts.hosts, ", "), ", not for ",
                                                  endpoint.host));
}

// That of an aggregator of `authority`'s, for this name. Its facts.
absl::StatusOr<CertificateFacts> CheckServer(const TlsProbe& probe, X509* authority,
                                             const Endpoint& endpoint, absl::Time now) {
  if (probe.certificates().empty())
    return absl::PermissionDeniedError("the server presents no certificate");
  X509* const leaf = probe.certificates().front().get();
  DS_ASSIGN_OR_RETURN(CertificateFacts facts, Facts(leaf));
  DS_RETURN_IF_ERROR(CheckIssued(leaf, facts, authority, kAggregatorRole, now));
  DS_RETURN_IF_ERROR(CheckName(leaf, facts, endpoint));
  return facts;
}

class Diagnosis {
 public:
  explicit Diagnosis(const DiagnoseOptions& options) : options_(options) {}

  std::vector<CheckLine> Run() {
    for (const auto step : {&Diagnosis::Address, &Diagnosis::OwnCertificate, &Diagnosis::Name,
                            &Diagnosis::Port, &Diagnosis::Tls, &Diagnosis::ServersCertificate,
                            &Diagnosis::Accepted, &Diagnosis::Version, &Diagnosis::Clock}) {
      if (!(this->*step)()) break;
    }
    return std::move(lines_);
  }

 private:
  bool Pass(std::string name, std::string detail) {
    lines_.push_back({std::move(name), true, std::move(detail), ""});
    return true;
  }
  bool Fail(std::string name, const absl::Status& status, std::string mend) {
    lines_.push_back({std::move(name), false, std::string(status.message()), std::move(mend)});
    return false;
  }
  Deadline Patience() const { return Deadline::In(options_.patience); }

  bool Address() {
    auto endpoint = ParseEndpoint(options_.address);
    if (!endpoint.ok()) return Fail("address", endpoint.status(), "correct the address");
    endpoint_ = *std::move(endpoint);
    return Pass("address", absl::StrCat(endpoint_.host, " port ", endpoint_.port));
  }

  bool OwnCertificate() {
    const absl::Status read = ReadOwn();
    if (!read.ok()) {
      return Fail("own certificate", read,
                  absl::IsPermissionDenied(read)
                      ? "enrol again with a new token, or set this machine's clock"
                      : "enrol with a token: ds_agent enrol");
    }
    return Pass(
        "own certificate",
        absl::StrFormat("%s '%s', serial %s, in force until %s", own_facts_.role, own_facts_.site,
                        own_facts_.serial, DateText(own_facts_.not_after)));
  }

  absl::Status ReadOwn() {
    DS_ASSIGN_OR_RETURN(own_, ReadCredentials(options_.identity));
    DS_ASSIGN_OR_RETURN(own_facts_, ReadCertificate(own_.certificate));
    DS_ASSIGN_OR_RETURN(authority_, ParseCertificate(own_.authority));
    return CheckCertificate(own_.certificate, own_.authority, own_facts_.role, options_.clock());
  }

  bool Name() {
    auto addresses = Resolve(endpoint_);
    if (!addresses.ok()) {
      return Fail("name", addresses.status(),
                  "correct the name, or this machine's DNS or /etc/hosts");
    }
    addresses_ = *std::move(addresses);
    std::vector<std::string> texts;
    for (const SocketAddress& address : addresses_) texts.push_back(address.text);
    return Pass("name", absl::StrJoin(texts, ", "));
  }

  bool Port() {
    auto socket = Connect(endpoint_, addresses_, Patience());
    if (!socket.ok()) {
      return Fail("port", socket.status(),
                  "is ds_aggregator running, and does every firewall between let this site call "
                  "that port?");
    }
    socket_ = *std::move(socket);
    return Pass("port", absl::StrCat(endpoint_.port, " is open"));
  }

  bool Tls() {
    auto probe = TlsProbe::Handshake(std::move(socket_), endpoint_, &own_, Patience());
    if (!probe.ok()) {
      return Fail("TLS", probe.status(),
                  "something answers that does not speak TLS 1.3: is this the aggregator's port, "
                  "and is there a proxy between that opens connections?");
    }
    probe_ = *std::move(probe);
    return Pass("TLS", "TLS 1.3");
  }

  bool ServersCertificate() {
    const auto facts = CheckServer(*probe_, authority_.get(), endpoint_, options_.clock());
    if (!facts.ok()) {
      return Fail("server's certificate", facts.status(),
                  "call the aggregator by a name of its certificate; or make it one with this name "
                  "(ds_pki renew-server --server); if its authority is another, somebody else "
                  "answers here");
    }
    return Pass("server's certificate",
                absl::StrFormat("'%s', for %s, in force until %s", facts->site,
                                absl::StrJoin(facts->hosts, ", "), DateText(facts->not_after)));
  }

  bool Accepted() {
    const absl::Status verdict =
        probe_->Verdict(Deadline::In(std::min(kVerdict, options_.patience)));
    probe_.reset();
    if (!verdict.ok()) {
      return Fail("own certificate at the server", verdict,
                  "the aggregator does not take this certificate: compare the two clocks, and "
                  "enrol again with a new token");
    }
    return Pass("own certificate at the server", "accepted by TLS");
  }

  bool Version() {
    if (options_.hello == nullptr) return false;
    const absl::Time asked = options_.clock();
    auto reply = options_.hello({.program = "check", .clock_ms = absl::ToUnixMillis(asked)});
    if (!reply.ok()) {
      return Fail("version", reply.status(),
                  absl::StrContains(reply.status().message(), "revoked")
                      ? "ask whoever runs the federation why, and for a new token"
                      : "install the same release of ds_agent and ds_aggregator");
    }
    // The server read its clock somewhere between.
    const absl::Time answered = options_.clock();
    skew_ = absl::FromUnixMillis(reply->clock_ms) - (asked + (answered - asked) / 2);
    if (reply->version < kOldestWireVersion || reply->version > kWireVersion) {
      return Fail("version",
                  absl::FailedPreconditionError(absl::StrFormat(
                      "the aggregator (%s) speaks version %d, this program %d to %d",
                      reply->program, reply->version, kOldestWireVersion, kWireVersion)),
                  "install the same release of ds_agent and ds_aggregator");
    }
    return Pass("version", absl::StrCat(reply->version, ", ", reply->program));
  }

  bool Clock() {
    const std::string detail =
        absl::StrFormat("the aggregator's is %.1f s %s", std::abs(absl::ToDoubleSeconds(skew_)),
                        skew_ < absl::ZeroDuration() ? "behind" : "ahead");
    if (skew_ > options_.most_skew || skew_ < -options_.most_skew) {
      return Fail("clock", absl::FailedPreconditionError(detail),
                  "set the clock of the machine that is wrong (timedatectl set-ntp true)");
    }
    return Pass("clock", detail);
  }

  const DiagnoseOptions& options_;
  std::vector<CheckLine> lines_;
  Endpoint endpoint_;
  Credentials own_;
  CertificateFacts own_facts_;
  CertificatePtr authority_;
  std::vector<SocketAddress> addresses_;
  std::unique_ptr<Descriptor> socket_;
  std::unique_ptr<TlsProbe> probe_;
  absl::Duration skew_;
};

}  // namespace

std::vector<CheckLine> DiagnoseConnection(const DiagnoseOptions& options) {
  return Diagnosis(options).Run();
}

absl::StatusOr<std::string> FetchAuthority(const std::string& address,
                                           absl::string_view fingerprint, absl::Duration patience,
                                           const WallClock& clock) {
  DS_ASSIGN_OR_RETURN(const Endpoint endpoint, ParseEndpoint(address));
  DS_ASSIGN_OR_RETURN(const std::vector<SocketAddress> addresses, Resolve(endpoint));
  const Deadline deadline = Deadline::In(patience);
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Descriptor> socket, Connect(endpoint, addresses, deadline));
  auto probe = TlsProbe::Handshake(std::move(socket), endpoint, nullptr, deadline);
  if (!probe.ok()) return Annotate(probe.status(), absl::StrCat("no TLS 1.3 with ", address));
  for (const CertificatePtr& certificate : (*probe)->certificates()) {
    const auto facts = Facts(certificate.get());
    if (!facts.ok() || facts->fingerprint != fingerprint) continue;
    DS_RETURN_IF_ERROR(CheckServer(**probe, certificate.get(), endpoint, clock()).status());
    return CertificatePem(certificate.get());
  }
  return absl::PermissionDeniedError(absl::StrCat(
      address, " does not present the authority with the fingerprint ", fingerprint,
      ": somebody else answers at this address, or the token is of another federation"));
}

}  // namespace ds::federated
