// The serial numbers of revoked certificates: a text file, a line each ("SERIAL SITE DATE"), that
// ds_pki writes and a running aggregator reads again when it has changed.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "federated/pki/file_watch.h"

namespace ds::federated {

// Of the file's text. InvalidArgument names the line that is none.
absl::StatusOr<std::set<std::string>> ParseRevocations(absl::string_view text);

// Thread-safe.
class RevocationList {
 public:
  // `path`: "revoked" in the authority's folder. NotFound, InvalidArgument.
  static absl::StatusOr<std::unique_ptr<RevocationList>> Open(const std::string& path);

  // `serial`: CertificateFacts::serial. Cheap, for every call and for open streams; sees a change
  // of the file within FileWatch::kPause. A file that has become unreadable revokes nothing less
  // than before, and is complained of once.
  bool IsRevoked(const std::string& serial);

 private:
  explicit RevocationList(const std::string& path) : watch_(path) {}
  absl::Status Read() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  FileWatch watch_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> revoked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds::federated
