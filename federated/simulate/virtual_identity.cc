#include "federated/simulate/virtual_identity.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"

namespace ds::federated {
namespace {

std::string CertificateOf(absl::string_view site) {
  return absl::StrCat("virtual certificate of ", site);
}
std::string SignatureOf(absl::string_view site, absl::string_view message) {
  return Sha256Hex(absl::StrCat("virtual signature/", site, "/", message));
}

class VirtualIdentity final : public SiteIdentity {
 public:
  explicit VirtualIdentity(std::string site)
      : site_(std::move(site)), certificate_(CertificateOf(site_)) {}

  const std::string& site() const override { return site_; }
  const std::string& certificate() const override { return certificate_; }
  absl::StatusOr<std::string> Sign(absl::string_view message) const override {
    return SignatureOf(site_, message);
  }
  absl::Status Verify(const std::string& site, const std::string& certificate,
                      absl::string_view message, absl::string_view signature) const override {
    if (certificate == CertificateOf(site) && signature == SignatureOf(site, message))
      return absl::OkStatus();
    return absl::PermissionDeniedError(absl::StrCat("not signed by ", site));
  }

 private:
  const std::string site_, certificate_;
};

}  // namespace

std::shared_ptr<const SiteIdentity> MakeVirtualIdentity(const std::string& site) {
  return std::make_shared<VirtualIdentity>(site);
}

}  // namespace ds::federated
