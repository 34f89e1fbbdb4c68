#include "federated/rpc/client.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status.h"
#include "federated/rpc/channel.h"
#include "federated/rpc/retry.h"
#include "federated/rpc/transfers.h"
#include "federated/rpc/watcher.h"
#include "federated/wire/codec.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

constexpr int64_t kLeastChunkBytes = 16 << 10;
// A blob that arrived damaged is sent again from its first byte so many times.
constexpr int kDamagedUploads = 3;

class GrpcClient : public RpcClient {
 public:
  explicit GrpcClient(const ConnectOptions& options)
      : options_(options),
        connection_(options_),
        watcher_(
            connection_, [this] { return Options(); }, options.patience) {}

  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override {
    // As before it was agreed: an aggregator of another version may have taken the old one's place.
    version_ = 1;
    DS_ASSIGN_OR_RETURN(HelloReply reply, Call<HelloReply>("Hello", request, DecodeHelloReply));
    version_ = reply.version;
    return reply;
  }
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override {
    return Call<JoinReply>("Join", request, DecodeJoinReply);
  }
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override {
    return watcher_.Next(known, patience);
  }
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override {
    return Call<CommitReply>("Commit", request, DecodeCommitReply);
  }
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override {
    if (static_cast<int64_t>(request.payload.size()) > kMaxPayloadBytes)
      return absl::InvalidArgumentError(
          absl::StrCat("a payload of ", request.payload.size(), " bytes for secure aggregation: ",
                       kMaxPayloadBytes, " fit in a message; fewer sites or rounds a set-up"));
    return Call<SecureReply>("Secure", request, DecodeSecureReply);
  }
  absl::StatusOr<EnrolReply> Enrol(const EnrolRequest& request) override {
    return Call<EnrolReply>("Enrol", request, DecodeEnrolReply);
  }
  absl::StatusOr<EnrolReply> Renew(const RenewRequest& request) override {
    return Call<EnrolReply>("Renew", request, DecodeEnrolReply);
  }

  absl::Status Upload(const std::string& digest, const BlobReader& blob) override {
    int64_t chunk_bytes = kMaxChunkBytes;
    int damaged = 0;
    return Retry([&](const auto& channel) -> Attempt {
      const auto received = UploadStatus(channel, digest, blob.size());
      if (!received.ok()) return {received.status()};
      if (*received == blob.size() && blob.size() > 0) return {absl::OkStatus()};
      if (*received > blob.size())
        return {absl::InternalError(
            absl::StrCat("the aggregator has ", *received, " bytes of a blob of ", blob.size()))};
      Attempt attempt = TryUpload(channel, digest, blob, *received, chunk_bytes, Options());
      if (absl::IsDataLoss(attempt.status) && ++damaged < kDamagedUploads)
        attempt.status = absl::UnavailableError(attempt.status.message());
      // Slow ways get smaller chunks, so that each is done before it counts as standing still.
      if (!attempt.progress) chunk_bytes = std::max(kLeastChunkBytes, chunk_bytes / 4);
      return attempt;
    });
  }

  absl::Status Download(const std::string& digest, BlobWriter& into) override {
    int64_t chunk_bytes = kMaxChunkBytes;
    DS_RETURN_IF_ERROR(Retry([&](const auto& channel) {
      Attempt attempt = TryDownload(channel, digest, into, chunk_bytes, Options());
      if (!attempt.progress) chunk_bytes = std::max(kLeastChunkBytes, chunk_bytes / 4);
      return attempt;
    }));
    return into.Finish();
  }

  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override {
    int64_t size = 0;
    DS_RETURN_IF_ERROR(Retry([&](const auto& channel) -> Attempt {
      const auto asked = AskSize(channel, digest, Options());
      if (asked.ok()) size = *asked;
      return {asked.status()};
    }));
    return size;
  }

 private:
  using OneAttempt = absl::FunctionRef<Attempt(const std::shared_ptr<grpc::Channel>&)>;

  CallOptions Options() const {
    return {.version = version_, .site = options_.insecure_site, .stall = options_.stall};
  }

  // Until an attempt ends otherwise than with Unavailable, or none made progress within the
  // patience.
  absl::Status Retry(OneAttempt attempt_once) {
    Deadline deadline = Deadline::In(options_.patience);
    Pauses pauses;
    while (true) {
      const std::shared_ptr<grpc::Channel> channel = connection_.Get();
      const absl::Duration began = SteadyTime();
      Attempt attempt = attempt_once(channel);
      attempt.status = connection_.Judge(channel, attempt.status);
      if (!absl::IsUnavailable(attempt.status)) return attempt.status;
      if (SteadyTime() - began >= options_.stall) connection_.Drop(channel);
      if (attempt.progress) {
        deadline = Deadline::In(options_.patience);
        pauses.Reset();
      }
      if (deadline.IsPast())
        return Annotate(attempt.status, absl::StrCat("the aggregator at ", options_.address));
      pauses.Sleep(deadline.Left());
    }
  }

  template <typename Reply, typename Request>
  absl::StatusOr<Reply> Call(const std::string& method, const Request& request,
                             absl::StatusOr<Reply> (*decode)(absl::string_view)) {
    const std::string bytes = Encode(request);
    std::string answer;
    DS_RETURN_IF_ERROR(Retry([&](const auto& channel) -> Attempt {
      auto reply = UnaryCallTo(channel, method, bytes, Options());
      if (reply.ok()) answer = *std::move(reply);
      return {reply.status()};
    }));
    return decode(answer);
  }

  absl::StatusOr<int64_t> UploadStatus(const std::shared_ptr<grpc::Channel>& channel,
                                       const std::string& digest, int64_t size) {
    DS_ASSIGN_OR_RETURN(
        const std::string bytes,
        UnaryCallTo(channel, "UploadStatus",
                    Encode(UploadStatusRequest{.digest = digest, .size = size}), Options()));
    DS_ASSIGN_OR_RETURN(const UploadStatusReply reply, DecodeUploadStatusReply(bytes));
    return reply.received;
  }

  const ConnectOptions options_;
  std::atomic<uint32_t> version_{1};
  Connection connection_;
  WatchStream watcher_;
};

}  // namespace

absl::Duration Jittered(absl::Duration pause) {
  thread_local std::minstd_rand random(std::random_device{}());
  return pause * std::uniform_real_distribution<double>(0.5, 1.0)(random);
}

absl::StatusOr<std::unique_ptr<RpcClient>> ConnectFederation(const ConnectOptions& options) {
  DS_RETURN_IF_ERROR(Connection::Check(options));
  return std::unique_ptr<RpcClient>(std::make_unique<GrpcClient>(options));
}

}  // namespace ds::federated
