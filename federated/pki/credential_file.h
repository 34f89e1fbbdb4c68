// An identity's file for those who hold connections open while it is renewed.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "federated/pki/file_watch.h"
#include "federated/pki/identity.h"

namespace ds::federated {

// Thread-safe.
class CredentialFile {
 public:
  using Changed = std::function<void(const Credentials&)>;

  // `changed` (may be null) hears of each replacement of the file within half a second, from a
  // thread of this object's; it is not called for what the file holds now. It must not destroy the
  // object.
  static absl::StatusOr<std::unique_ptr<CredentialFile>> Open(const std::string& path,
                                                              Changed changed = nullptr);
  ~CredentialFile();
  CredentialFile(const CredentialFile&) = delete;
  CredentialFile& operator=(const CredentialFile&) = delete;

  // What the file holds now. One that cannot be read is complained of, and the last good one stays.
  std::shared_ptr<const Credentials> Get();

 private:
  explicit CredentialFile(const std::string& path) : watch_(path) {}
  void Run();

  Mutex mutex_;
  CondVar woken_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Credentials> credentials_ ABSL_GUARDED_BY(mutex_);
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  Changed changed_;
  std::thread thread_;
};

}  // namespace ds::federated
