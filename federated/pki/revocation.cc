#include "federated/pki/revocation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file/file.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr size_t kLongestSerial = 40;  // RFC 5280, 4.1.2.2: 20 bytes

bool IsSerial(absl::string_view text) {
  return !text.empty() && text.size() <= kLongestSerial && IsLowerHex(text);
}

}  // namespace

absl::StatusOr<std::set<std::string>> ParseRevocations(absl::string_view text) {
  std::set<std::string> revoked;
  int64_t number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const std::string serial(line.substr(0, line.find(' ')));
    if (!IsSerial(serial)) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, " does not begin with a certificate's serial number"));
    }
    revoked.insert(serial);
  }
  return revoked;
}

absl::StatusOr<std::unique_ptr<RevocationList>> RevocationList::Open(const std::string& path) {
  std::unique_ptr<RevocationList> list(new RevocationList(path));
  const MutexLock lock(list->mutex_);
  list->watch_.Changed();
  const absl::Status read = list->Read();
  if (!read.ok()) return Annotate(read, "the list of revoked certificates");
  return list;
}

absl::Status RevocationList::Read() {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(watch_.path()));
  auto revoked = ParseRevocations(text);
  if (!revoked.ok()) return Annotate(revoked.status(), watch_.path());
  revoked_ = *std::move(revoked);
  return absl::OkStatus();
}

bool RevocationList::IsRevoked(const std::string& serial) {
  const MutexLock lock(mutex_);
  if (watch_.Changed()) {
    const absl::Status read = Read();
    if (!read.ok()) {
      Log(LogLevel::kError,
          absl::StrCat(
              "the list of revoked certificates cannot be read, and what was revoked since ",
              "is not known: ", read.message()));
    }
  }
  return revoked_.count(serial) > 0;
}

}  // namespace ds::federated
