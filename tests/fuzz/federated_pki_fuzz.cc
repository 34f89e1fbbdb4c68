// Any bytes as what the room of identities reads: from the network tokens, requests and
// certificates (as PEM, and as what PEM wraps), from the disk records, lists and identities. An
// error or a value that holds what its header promises; never a crash or a hang.
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "federated/pki/authority/records.h"
#include "federated/pki/certificate.h"
#include "federated/pki/check/endpoint.h"
#include "federated/pki/identity.h"
#include "federated/pki/revocation.h"
#include "federated/pki/token.h"
#include "federated/pki/x509/issue.h"

namespace ds::federated {
namespace {

std::string Wrap(absl::string_view bytes, const std::string& name) {
  return absl::StrCat("-----BEGIN ", name, "-----\n", absl::Base64Escape(bytes), "\n-----END ",
                      name, "-----\n");
}

void Certificate(absl::string_view pem) {
  const auto facts = ReadCertificate(pem);
  const auto caller = PeerIdentity(pem);
  if (!facts.ok()) {
    DS_CHECK(absl::IsInvalidArgument(facts.status()) && absl::IsPermissionDenied(caller.status()));
    return;
  }
  DS_CHECK(facts->site.empty() || CheckSiteName(facts->site).ok());
  DS_CHECK(caller.ok() != facts->site.empty());
  DS_CHECK(facts->fingerprint.size() == 64);
  // Nobody's: it was signed by no key of this test's.
  static_cast<void>(CheckCertificate(pem, pem, kSiteRole, absl::FromUnixSeconds(1'800'000'000)));
}

void Request(absl::string_view pem) {
  const auto request = ParseRequest(pem);
  if (!request.ok()) {
    DS_CHECK(absl::IsInvalidArgument(request.status()));
    return;
  }
  const auto names = RequestedNames(request->get());
  DS_CHECK(!names.ok() || names->site.empty() || CheckSiteName(names->site).ok());
}

void Records(absl::string_view text) {
  const auto token = DecodeToken(text);
  if (token.ok()) DS_CHECK(Encode(*DecodeToken(Encode(*token))) == Encode(*token));
  const auto certificate = DecodeCertificate(text);
  if (certificate.ok())
    DS_CHECK(Encode(*DecodeCertificate(Encode(*certificate))) == Encode(*certificate));
  static_cast<void>(ParseRevocations(text));
}

}  // namespace
}  // namespace ds::federated

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ds::federated;  // NOLINT(google-build-using-namespace)
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto token = EnrolmentToken::Parse(text);
  if (token.ok()) DS_CHECK(EnrolmentToken::Parse(token->Text())->secret == token->secret);
  static_cast<void>(ParseEndpoint(text));
  static_cast<void>(ParseCredentials(text));
  Records(text);
  for (const std::string& pem : {std::string(text), Wrap(text, "CERTIFICATE")}) Certificate(pem);
  for (const std::string& pem : {std::string(text), Wrap(text, "CERTIFICATE REQUEST")})
    Request(pem);
  return 0;
}
