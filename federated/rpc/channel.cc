#include "federated/rpc/channel.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/rpc/tls.h"
#include "federated/wire/codec.h"
#include "grpcpp/grpcpp.h"

namespace ds::federated {
namespace {

// An aggregator that was restarted is found again within this.
constexpr int kMaxReconnectMs = 1000, kFirstReconnectMs = 100;
constexpr int kKeepaliveMs = 20000, kKeepaliveTimeoutMs = 10000;
constexpr int kLookaheadBytes = 4 << 20;

}  // namespace

absl::Status Connection::Check(const ConnectOptions& options) {
  std::string host;
  int port = 0;
  DS_RETURN_IF_ERROR(SplitAddress(options.address, &host, &port));
  if (options.insecure) {
    if (IsLoopback(host)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "an insecure connection to ", host,
        ": without TLS anybody may be the aggregator, so that is for loopback addresses only"));
  }
  if (!options.identity)
    return absl::InvalidArgumentError("a connection with TLS wants an identity");
  return absl::OkStatus();
}

std::shared_ptr<grpc::Channel> Connection::Get() {
  std::shared_ptr<const TlsIdentity> identity;
  if (!options_.insecure) identity = options_.identity();
  MutexLock lock(mutex_);
  if (channel_ == nullptr || identity != identity_) {
    channel_ = Make(identity.get());
    identity_ = std::move(identity);
  }
  return channel_;
}

void Connection::Drop(const std::shared_ptr<grpc::Channel>& channel) {
  MutexLock lock(mutex_);
  if (channel_ == channel) channel_ = nullptr;
}

absl::Status Connection::Judge(const std::shared_ptr<grpc::Channel>& channel,
                               const absl::Status& ended) {
  if (!absl::IsPermissionDenied(ended) || Get() == channel) return ended;
  return absl::UnavailableError(
      absl::StrCat(ended.message(), ", and has been renewed: once more with the new one"));
}

std::shared_ptr<grpc::Channel> Connection::Make(const TlsIdentity* identity) const {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  // A connection of its own, not one that another channel to the same address has already: that
  // one may be the one that stands still.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  // After a failed attempt gRPC resolves the name again before it dials again, and would wait 30 s
  // for that.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  arguments.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kLookaheadBytes);
  // Straight to the aggregator, whatever the environment says of proxies for the web.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (options_.insecure)
    return grpc::CreateCustomChannel(options_.address, grpc::InsecureChannelCredentials(),
                                     arguments);
  RequireTls13();
  grpc::SslCredentialsOptions tls;
  if (identity != nullptr) {
    tls.pem_root_certs = identity->authority;
    tls.pem_private_key = identity->key;
    tls.pem_cert_chain = identity->certificates;
  }
  return grpc::CreateCustomChannel(options_.address, grpc::SslCredentials(tls), arguments);
}

}  // namespace ds::federated
