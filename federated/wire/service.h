// The aggregator as its agents see it, whatever carries the calls: federated/rpc/ over gRPC,
// federated/agent/inprocess.h in one process.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "federated/store/store.h"
#include "federated/wire/messages.h"

namespace ds::federated {

// Who calls, from the certificate of the connection, never from the message.
struct Caller {
  std::string site;
  std::string role;         // "site" | "operator"
  std::string certificate;  // PEM, for signatures
  std::string serial;       // of it, hexadecimal
};

// A stream of situations; destroyed, nothing more comes.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

// The aggregator's side. Thread-safe; no call waits for another site. Every error has a code that
// says what to do: Unavailable (again, later), FailedPrecondition (look at the situation again),
// PermissionDenied, InvalidArgument, NotFound (blob), DataLoss (send the blob again from 0).
class FederationService {
 public:
  virtual ~FederationService() = default;
  virtual absl::StatusOr<HelloReply> Hello(const Caller& caller, const HelloRequest& request) = 0;
  virtual absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) = 0;
  // `changed` gets the present situation at once and the newest one after each change (older ones
  // that were not taken yet are skipped); called from any thread, must not block. The site counts
  // as present while it has a subscription.
  virtual absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) = 0;
  // Idempotent on (run, round, site, update).
  virtual absl::StatusOr<CommitReply> Commit(const Caller& caller,
                                             const CommitRequest& request) = 0;
  virtual absl::StatusOr<SecureReply> Secure(const Caller& caller,
                                             const SecureRequest& request) = 0;
  // Bytes of an upload that are there; `size` of the whole. PermissionDenied over what a site may
  // store.
  virtual absl::StatusOr<int64_t> UploadStatus(const Caller& caller, const std::string& digest,
                                               int64_t size) = 0;
  virtual absl::Status Upload(const Caller& caller, const std::string& digest, int64_t size,
                              int64_t offset, absl::Span<const std::byte> bytes) = 0;
  // Only blobs that the caller's situation names, or its own.
  virtual absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller& caller,
                                                               const std::string& digest) = 0;
};

// The agent's side; blocking. Every call ends: with Unavailable when there was no progress for the
// client's patience. Thread-safe.
class FederationClient {
 public:
  virtual ~FederationClient() = default;
  virtual absl::StatusOr<HelloReply> Hello(const HelloRequest& request) = 0;
  virtual absl::StatusOr<JoinReply> Join(const JoinRequest& request) = 0;
  // The newest situation once its number is another than `known` (above it, where the aggregator
  // counts on); DeadlineExceeded after `patience`.
  virtual absl::StatusOr<Situation> Next(uint64_t known, absl::Duration patience) = 0;
  virtual absl::StatusOr<CommitReply> Commit(const CommitRequest& request) = 0;
  virtual absl::StatusOr<SecureReply> Secure(const SecureRequest& request) = 0;
  // Resumes where the aggregator has something of it already.
  virtual absl::Status Upload(const std::string& digest, const BlobReader& blob) = 0;
  // Resumes where the writer has something already; finished when it returns.
  virtual absl::Status Download(const std::string& digest, BlobWriter& into) = 0;
  virtual absl::StatusOr<int64_t> DownloadSize(const std::string& digest) = 0;
};

}  // namespace ds::federated
