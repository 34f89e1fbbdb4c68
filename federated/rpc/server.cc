#include "federated/rpc/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/rpc/gatekeeper.h"
#include "federated/rpc/listener.h"
#include "federated/rpc/tls.h"
#include "federated/wire/codec.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_credentials_options.h"

namespace ds::federated {
namespace {

constexpr unsigned kReloadSeconds = 1;
// Between two looks at every open call: revocation is in force within twice as long.
constexpr absl::Duration kTick = absl::Milliseconds(200);
// For calls to end once they were told.
constexpr absl::Duration kFarewell = absl::Seconds(5);
// What arrives on a stream before it is read: gRPC's own buffer, beyond the budget. A megabyte
// keeps 20 MB/s going over a way of 50 ms.
constexpr int kLookaheadBytes = 1 << 20;
constexpr int kStreamsAConnection = 32;
constexpr int kKeepaliveMs = 20000, kKeepaliveTimeoutMs = 10000, kLeastPingMs = 5000;

// Ends at once with an error.
class Refusal : public grpc::ServerGenericBidiReactor {
 public:
  explicit Refusal(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

class Service : public grpc::CallbackGenericService {
 public:
  Service(ServerCore& core, Gatekeeper& gatekeeper) : core_(core), gatekeeper_(gatekeeper) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    auto call = Admit(*context);
    if (!call.ok()) return new Refusal(call.status());
    (*call)->Begin();
    return call->get();
  }

 private:
  // The call that comes back is the core's: it stays until gRPC is done with it.
  absl::StatusOr<std::shared_ptr<ServerCall>> Admit(grpc::GenericCallbackServerContext& context) {
    absl::string_view method = context.method();
    if (!absl::ConsumePrefix(&method, kServicePrefix))
      return absl::UnimplementedError(absl::StrCat("there is no ", method, " here"));
    const std::string name(method);
    DS_ASSIGN_OR_RETURN(CallFacts facts, gatekeeper_.Admit(name, context));
    std::shared_ptr<ServerCall> call = MakeCall(name, core_, context, std::move(facts));
    if (call == nullptr)
      return absl::UnimplementedError(absl::StrCat("there is no method ", name, " here"));
    DS_RETURN_IF_ERROR(core_.Add(call));
    return call;
  }

  ServerCore& core_;
  Gatekeeper& gatekeeper_;
};

absl::Status CheckOptions(const ServeOptions& options, const std::string& host) {
  if (options.insecure && !IsLoopback(host))
    return absl::InvalidArgumentError(
        absl::StrCat("an insecure server on ", host,
                     ": without TLS anybody may be any site, so that is for loopback addresses "
                     "only; listen on 127.0.0.1, or give certificates"));
  if (options.caller_bytes < 2 * kMaxMessageBytes || options.memory_bytes < options.caller_bytes)
    return absl::InvalidArgumentError(absl::StrCat(
        "caller_bytes ", options.caller_bytes, " and memory_bytes ", options.memory_bytes,
        ": wanted ", 2 * kMaxMessageBytes, " <= caller_bytes <= memory_bytes"));
  if (options.max_calls < 1 || options.threads < 1 || options.max_connections < 1)
    return absl::InvalidArgumentError("max_calls, threads and max_connections must be 1 at least");
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> Credentials(const ServeOptions& options) {
  if (options.insecure) return grpc::InsecureServerCredentials();
  for (const std::string& file :
       {options.tls.certificates, options.tls.key, options.tls.authority}) {
    const auto text = ReadFile(file);
    if (!text.ok()) return Annotate(text.status(), "for TLS");
    if (!absl::StrContains(*text, "-----BEGIN "))
      return absl::InvalidArgumentError(absl::StrCat(file, " is no PEM file"));
  }
  RequireTls13();
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
          options.tls.key, options.tls.certificates, options.tls.authority, kReloadSeconds));
  tls.watch_root_certs();
  tls.watch_identity_key_cert_pairs();
  // Not required, since enrolment comes without one: the gatekeeper asks for it.
  tls.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  return grpc::experimental::TlsServerCredentials(tls);
}

// Every connection takes two descriptors.
int ConnectionsWithinLimits(int wanted) {
  constexpr rlim_t kOthers = 256;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return wanted;
  const rlim_t needed = 2 * static_cast<rlim_t>(wanted) + kOthers;
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(needed, limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= needed) return wanted;
  return std::max(1, static_cast<int>((limit.rlim_cur - std::min(limit.rlim_cur, kOthers)) / 2));
}

class GrpcServer : public FederationServer {
 public:
  GrpcServer(const ServeOptions& options, FederationService& service, EnrolmentService* enrolment)
      : core_(options, service, enrolment),
        gatekeeper_(core_.options),
        service_(core_, gatekeeper_) {}

  absl::Status Start() {
    std::string host;
    int port = 0;
    DS_RETURN_IF_ERROR(SplitAddress(core_.options.address, &host, &port));
    DS_RETURN_IF_ERROR(CheckOptions(core_.options, host));
    DS_ASSIGN_OR_RETURN(const auto credentials, Credentials(core_.options));
    DS_ASSIGN_OR_RETURN(
        listener_,
        Listener::Open(host, port, ConnectionsWithinLimits(core_.options.max_connections)));
    auto acceptor = Build(credentials);
    if (server_ == nullptr) return absl::InternalError("gRPC did not start its server");
    listener_->Start([acceptor = std::shared_ptr(std::move(acceptor))](int fd) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.fd = fd;
      acceptor->HandleNewConnection(&connection);
    });
    ticker_ = std::thread([this] { TickUntilStopped(); });
    return absl::OkStatus();
  }

  ~GrpcServer() override {
    if (listener_ != nullptr) listener_->Stop();
    if (server_ == nullptr) return;
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      stop_.NotifyAll();
    }
    if (ticker_.joinable()) ticker_.join();
    core_.Close();
    for (const auto& call : core_.Calls())
      call->End(absl::UnavailableError("the aggregator is stopping"));
    core_.WaitUntilEmpty(kFarewell / 2);
    server_->Shutdown(MonotonicIn(kFarewell / 2));
    server_->Wait();
    core_.WaitUntilEmpty(kFarewell);
  }

  int port() const override { return listener_->port(); }
  int64_t open_calls() const override { return core_.size(); }
  int64_t peak_bytes() const override { return core_.requests.peak() + core_.chunks.peak(); }

 private:
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> Build(
      const std::shared_ptr<grpc::ServerCredentials>& credentials) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsAConnection);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
    builder.AddChannelArgument(
        GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS,
        static_cast<int>(absl::ToInt64Milliseconds(core_.options.handshake)));
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
    builder.RegisterCallbackGenericService(&service_);
    auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
        grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
    server_ = builder.BuildAndStart();
    return acceptor;
  }

  void TickUntilStopped() {
    MutexLock lock(mutex_);
    while (!stopping_) {
      stop_.WaitUntil(mutex_, Deadline::In(kTick).Moment());
      if (stopping_) return;
      MutexUnlock unlock(mutex_);
      for (const auto& call : core_.Calls()) call->Tick();
    }
  }

  ServerCore core_;
  Gatekeeper gatekeeper_;
  Service service_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<grpc::Server> server_;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread ticker_;
};

}  // namespace

std::shared_ptr<ServerCall> MakeCall(const std::string& method, ServerCore& core,
                                     grpc::GenericCallbackServerContext& context, CallFacts facts) {
  if (const UnaryHandler* handler = FindUnary(method))
    return MakeUnaryCall(*handler, core, context, std::move(facts));
  if (method == "Watch") return MakeWatchCall(core, context, std::move(facts));
  if (method == "Upload") return MakeUploadCall(core, context, std::move(facts));
  if (method == "Download") return MakeDownloadCall(core, context, std::move(facts));
  return nullptr;
}

absl::StatusOr<std::unique_ptr<FederationServer>> ServeFederation(const ServeOptions& options,
                                                                  FederationService& service,
                                                                  EnrolmentService* enrolment) {
  auto server = std::make_unique<GrpcServer>(options, service, enrolment);
  DS_RETURN_IF_ERROR(server->Start());
  return std::unique_ptr<FederationServer>(std::move(server));
}

}  // namespace ds::federated
