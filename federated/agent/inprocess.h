// An agent's client without a network: straight onto a service in the same process, for tests and
// the simulation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/mutex.h"
#include "federated/wire/service.h"

namespace ds::federated {

// Thread-safe. The service must outlive it.
class InProcessClient final : public FederationClient {
 public:
  // `chunk_bytes`: of uploads and downloads, > 0.
  InProcessClient(FederationService& service, Caller caller, int64_t chunk_bytes = 1 << 20);
  ~InProcessClient() override;

  absl::StatusOr<HelloReply> Hello(const HelloRequest& request) override;
  absl::StatusOr<JoinReply> Join(const JoinRequest& request) override;
  absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) override;
  absl::StatusOr<CommitReply> Commit(const CommitRequest& request) override;
  absl::StatusOr<SecureReply> Secure(const SecureRequest& request) override;
  absl::Status Upload(const std::string& digest, const BlobReader& blob) override;
  absl::Status Download(const std::string& digest, BlobWriter& into) override;
  absl::StatusOr<int64_t> DownloadSize(const std::string& digest) override;

 private:
  struct Mailbox;

  absl::StatusOr<std::shared_ptr<Mailbox>> Watched();
  absl::Status UploadFrom(const std::string& digest, const BlobReader& blob, int64_t offset);

  FederationService& service_;
  const Caller caller_;
  const int64_t chunk_bytes_;
  Mutex mutex_;
  std::shared_ptr<Mailbox> mailbox_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Subscription> subscription_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
