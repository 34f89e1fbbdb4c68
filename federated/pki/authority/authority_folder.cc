#include "federated/pki/authority/authority_folder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/wall_time.h"

namespace ds::federated {
namespace {

constexpr char kTokens[] = "/tokens", kCertificates[] = "/certificates", kEnding[] = ".json";

std::string TokenFile(const std::string& folder, const std::string& id) {
  return absl::StrCat(folder, kTokens, "/", id, kEnding);
}

std::string RecordFile(const std::string& folder, const std::string& serial) {
  return absl::StrCat(folder, kCertificates, "/", serial, kEnding);
}

template <typename Decode>
auto ReadRecord(const std::string& path, Decode decode) -> decltype(decode(std::string())) {
  DS_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto record = decode(text);
  if (!record.ok()) return Annotate(record.status(), path);
  return record;
}

// Names of the records in a folder; the temporary files of a power cut are not theirs.
absl::StatusOr<std::vector<std::string>> Names(const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const std::vector<FileSystem::Entry> entries,
                      FileSystem::Default().List(folder));
  std::vector<std::string> names;
  for (const FileSystem::Entry& entry : entries) {
    absl::string_view name = entry.name;
    if (absl::ConsumeSuffix(&name, kEnding)) names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

absl::StatusOr<TokenRecord> AuthorityFolder::Token(const std::string& id) const {
  return ReadRecord(TokenFile(path_, id), DecodeToken);
}

absl::StatusOr<CertificateRecord> AuthorityFolder::Certificate(const std::string& serial) const {
  return ReadRecord(RecordFile(path_, serial), DecodeCertificate);
}

absl::Status AuthorityFolder::Put(const std::string& id, const TokenRecord& record) const {
  return WritePrivateFileAtomically(TokenFile(path_, id), Encode(record));
}

absl::Status AuthorityFolder::Put(const std::string& serial,
                                  const CertificateRecord& record) const {
  return WriteFileAtomically(RecordFile(path_, serial), Encode(record));
}

absl::Status AuthorityFolder::RemoveToken(const std::string& id) const {
  DS_RETURN_IF_ERROR(FileSystem::Default().RemoveFile(TokenFile(path_, id)));
  return FileSystem::Default().SyncFolder(path_ + kTokens);
}

absl::StatusOr<std::vector<std::string>> AuthorityFolder::TokenIds() const {
  return Names(path_ + kTokens);
}

absl::StatusOr<std::vector<std::string>> AuthorityFolder::Serials() const {
  return Names(path_ + kCertificates);
}

absl::Status AuthorityFolder::AddRevocations(const std::vector<Revocation>& revocations,
                                             absl::Time now) const {
  DS_ASSIGN_OR_RETURN(std::string text, ReadFile(RevocationFile()));
  for (const Revocation& revocation : revocations)
    absl::StrAppend(&text, revocation.serial, " ", revocation.site, " ", DateText(now), "\n");
  return WriteFileAtomically(RevocationFile(), text);
}

absl::Status AuthorityFolder::Prepare() const {
  DS_RETURN_IF_ERROR(MakeFolders(path_ + kTokens));
  DS_RETURN_IF_ERROR(MakeFolders(path_ + kCertificates));
  return WriteFileAtomically(RevocationFile(),
                             "# Revoked certificates, a line each: serial number, site, date.\n");
}

}  // namespace ds::federated
