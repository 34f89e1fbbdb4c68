// An aggregator for the tests of its port: a service that remembers what it was told, certificates
// of a real authority, and server and clients over the loopback.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/revocation.h"
#include "federated/rpc/client.h"
#include "federated/rpc/server.h"
#include "federated/store/store.h"
#include "federated/wire/service.h"
#include "tests/support/temp_folder.h"

namespace ds::federated {

// Thread-safe. Blobs lie in a MemoryStore.
class FakeService : public FederationService {
 public:
  absl::StatusOr<HelloReply> Hello(const Caller& caller, const HelloRequest& request) override;
  absl::StatusOr<JoinReply> Join(const Caller& caller, const JoinRequest& request) override;
  absl::StatusOr<std::unique_ptr<Subscription>> Watch(
      const Caller& caller, std::function<void(const Situation&)> changed) override;
  absl::StatusOr<CommitReply> Commit(const Caller& caller, const CommitRequest& request) override;
  absl::StatusOr<SecureReply> Secure(const Caller& caller, const SecureRequest& request) override;
  absl::StatusOr<int64_t> UploadStatus(const Caller& caller, const std::string& digest,
                                       int64_t size) override;
  absl::Status Upload(const Caller& caller, const std::string& digest, int64_t size, int64_t offset,
                      absl::Span<const std::byte> bytes) override;
  absl::StatusOr<std::shared_ptr<BlobReader>> Download(const Caller& caller,
                                                       const std::string& digest) override;

  // Tells every subscriber.
  void Say(const Situation& situation);
  int subscribers() const;

  // What came, "site method".
  std::vector<std::string> calls() const;
  Caller last_caller() const;
  SecureRequest last_secure() const;
  std::unique_ptr<Store> store = MemoryStore();
  // Asked in every call, before anything: an error is what the call ends with.
  std::function<absl::Status(const std::string& method)> interfere;
  // Bytes that uploads have brought, those that were there already too.
  std::atomic<int64_t> uploaded{0};

 private:
  class Listening;
  absl::Status Note(const Caller& caller, const std::string& method);

  mutable Mutex mutex_;
  std::vector<std::string> calls_ ABSL_GUARDED_BY(mutex_);
  Caller last_caller_ ABSL_GUARDED_BY(mutex_);
  SecureRequest last_secure_ ABSL_GUARDED_BY(mutex_);
  Situation situation_ ABSL_GUARDED_BY(mutex_);
  std::map<const Listening*, std::function<void(const Situation&)>> listening_
      ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<BlobWriter>> writers_ ABSL_GUARDED_BY(mutex_);
};

// An authority, the aggregator's certificate for 127.0.0.1, and sites'. One a process: making keys
// takes its time.
class Federation {
 public:
  explicit Federation(const AuthorityOptions& options = {});

  Authority& authority() { return *authority_; }
  const std::string& folder() const { return folder_.path(); }
  // Enrolled anew, with a key of its own.
  std::shared_ptr<const TlsIdentity> Identity(const std::string& site,
                                              const std::string& role = "site");
  // Only knows the authority.
  std::shared_ptr<const TlsIdentity> Stranger();
  std::string SerialOf(const TlsIdentity& identity);

  ServeOptions Serving();
  ConnectOptions Connecting(int port, std::shared_ptr<const TlsIdentity> identity);

 private:
  TempFolder folder_;
  std::unique_ptr<Authority> authority_;
  std::unique_ptr<RevocationList> revoked_;
};

// Bytes that no two seeds have in common.
std::string RandomBytes(int64_t size, uint64_t seed);
std::shared_ptr<BlobReader> ReaderOf(const std::string& bytes);
int64_t PeakResidentBytes();

// Fails the test where it is not OK.
template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) ADD_FAILURE() << value.status();
  return *std::move(value);
}

}  // namespace ds::federated
