// A new authority: its key, its certificate, its empty folder.
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/authority/authority.h"
#include "federated/pki/authority/authority_folder.h"
#include "federated/pki/authority/folder_lock.h"
#include "federated/pki/certificate.h"
#include "federated/pki/x509/hex.h"
#include "federated/pki/x509/issue.h"

namespace ds::federated {
namespace {

// Behind the federation's name, so that it is not the aggregator's.
constexpr char kAuthority[] = " authority";
constexpr size_t kLongestName = 50;  // with it a common name, of 64 characters at most

// Signs the certificate for itself and writes it down, last: it says that there is an authority.
absl::Status WriteAuthority(const AuthorityFolder& files, const std::string& name,
                            const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::string key_text, MakeKey());
  DS_ASSIGN_OR_RETURN(const KeyPtr key, ParseKey(key_text));
  DS_ASSIGN_OR_RETURN(const std::string serial, RandomHex(15));
  const absl::Time now = options.clock();
  const CertificateOrder order = {.subject = name + kAuthority,
                                  .serial = absl::StrCat("40", serial),
                                  .not_before = now - kBackdated,
                                  .not_after = now + options.authority_life,
                                  .kind = CertificateOrder::Kind::kAuthority};
  DS_ASSIGN_OR_RETURN(const CertificatePtr made,
                      MakeCertificate(order, key.get(), nullptr, key.get()));
  DS_ASSIGN_OR_RETURN(const std::string pem, CertificatePem(made.get()));
  DS_RETURN_IF_ERROR(files.Prepare());
  DS_RETURN_IF_ERROR(WritePrivateFileAtomically(files.KeyFile(), key_text));
  return WriteFileAtomically(files.CertificateFile(), pem);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Authority>> Authority::Make(const std::string& folder,
                                                           const std::string& name,
                                                           const AuthorityOptions& options) {
  DS_RETURN_IF_ERROR(CheckSiteName(name));
  if (name.size() > kLongestName)
    return absl::InvalidArgumentError("a federation's name has 50 characters at most");
  DS_RETURN_IF_ERROR(MakeFolders(folder));
  const AuthorityFolder files(folder);
  {
    DS_ASSIGN_OR_RETURN(const auto lock, LockAuthority(folder, kLockPatience));
    if (!absl::IsNotFound(ReadFile(files.CertificateFile()).status())) {
      return absl::AlreadyExistsError(absl::StrCat(
          files.CertificateFile(), " is there already: a new authority wants a new folder"));
    }
    DS_RETURN_IF_ERROR(WriteAuthority(files, name, options));
  }
  return Open(folder, options);
}

}  // namespace ds::federated
