#include "federated/pki/credential_file.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr std::chrono::milliseconds kLook{250};

}  // namespace

absl::StatusOr<std::unique_ptr<CredentialFile>> CredentialFile::Open(const std::string& path,
                                                                     Changed changed) {
  std::unique_ptr<CredentialFile> file(new CredentialFile(path));
  {
    const MutexLock lock(file->mutex_);
    file->watch_.Changed();
    DS_ASSIGN_OR_RETURN(Credentials credentials, ReadCredentials(path));
    file->credentials_ = std::make_shared<const Credentials>(std::move(credentials));
  }
  if (changed != nullptr) {
    file->changed_ = std::move(changed);
    file->thread_ = std::thread([raw = file.get()] { raw->Run(); });
  }
  return file;
}

CredentialFile::~CredentialFile() {
  {
    const MutexLock lock(mutex_);
    stopped_ = true;
  }
  woken_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

std::shared_ptr<const Credentials> CredentialFile::Get() {
  const MutexLock lock(mutex_);
  if (!watch_.Changed()) return credentials_;
  auto read = ReadCredentials(watch_.path());
  if (read.ok()) {
    credentials_ = std::make_shared<const Credentials>(*std::move(read));
  } else {
    Log(LogLevel::kWarning,
        absl::StrCat("the identity in use is kept, since the new one cannot be read: ",
                     read.status().message()));
  }
  return credentials_;
}

void CredentialFile::Run() {
  std::shared_ptr<const Credentials> told = Get();
  while (true) {
    {
      const MutexLock lock(mutex_);
      const auto next = std::chrono::steady_clock::now() + kLook;
      while (!stopped_ && woken_.WaitUntil(mutex_, next)) {
      }
      if (stopped_) return;
    }
    std::shared_ptr<const Credentials> now = Get();
    if (now == told) continue;
    told = std::move(now);
    changed_(*told);
  }
}

}  // namespace ds::federated
