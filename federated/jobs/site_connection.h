// A site's connection to its aggregator with the identity in its folder, which is read again when a
// renewal has replaced it.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/config/agent_config.h"
#include "federated/pki/file_watch.h"
#include "federated/rpc/client.h"
#include "federated/secure/secure_agent.h"

namespace ds::federated {

// The newest credentials of a file. Thread-safe.
class IdentitySource {
 public:
  static absl::StatusOr<std::shared_ptr<IdentitySource>> Open(const std::string& path);
  // The same pointer until the file has changed; a file that cannot be read changes nothing.
  std::shared_ptr<const TlsIdentity> Get();

 private:
  explicit IdentitySource(const std::string& path) : watch_(path) {}
  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const TlsIdentity> identity_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<std::unique_ptr<RpcClient>> ConnectSite(const AgentConfig& config);
// Who the site is; insecure: a bare name, which can sign nothing.
absl::StatusOr<std::shared_ptr<const SiteIdentity>> IdentityOf(const AgentConfig& config);

// Renews the site's certificate in time, on a thread of its own, while it lives.
class Renewal {
 public:
  Renewal(std::string folder, RpcClient& client);
  ~Renewal();

 private:
  void Work();

  const std::string folder_;
  RpcClient& client_;
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread worker_;  // last
};

}  // namespace ds::federated
