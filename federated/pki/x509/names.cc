#include "federated/pki/x509/names.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "federated/pki/x509/site_name.h"

namespace ds::federated {
namespace {

constexpr absl::string_view kScheme = "downstream://";
constexpr size_t kLongestHost = 253;  // RFC 1035

std::string Text(const ASN1_STRING* string) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
                     static_cast<size_t>(ASN1_STRING_length(string)));
}

std::string AddressText(const ASN1_OCTET_STRING* address) {
  const int size = ASN1_STRING_length(address);
  std::array<char, INET6_ADDRSTRLEN> text = {};
  if (size != 4 && size != 16) return "";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text.data(),
            text.size());
  return text.data();
}

absl::Status ReadUri(const std::string& uri, AlternativeNames& names) {
  absl::string_view rest = uri;
  if (!absl::ConsumePrefix(&rest, kScheme)) return absl::OkStatus();
  const size_t slash = rest.find('/');
  if (!names.site.empty() || slash == absl::string_view::npos || slash == 0)
    return absl::InvalidArgumentError("its URI is not one downstream://ROLE/SITE");
  names.role = std::string(rest.substr(0, slash));
  names.site = std::string(rest.substr(slash + 1));
  DS_RETURN_IF_ERROR(CheckSiteName(names.role));
  return CheckSiteName(names.site);
}

absl::Status CheckHost(const std::string& host) {
  const bool good =
      !host.empty() && host.size() <= kLongestHost && absl::ascii_isalnum(host.front()) &&
      std::all_of(host.begin(), host.end(),
                  [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-'; });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("'", host, "' is neither a host's name nor an IP address"));
}

// Takes `value` over.
absl::Status Push(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* const name = GENERAL_NAME_new();
  if (name == nullptr || value == nullptr || sk_GENERAL_NAME_push(names, name) == 0) {
    GENERAL_NAME_free(name);
    ASN1_STRING_free(value);
    return OpenSslStatus(absl::StatusCode::kInternal, "cannot write a name");
  }
  GENERAL_NAME_set0_value(name, type, value);
  return absl::OkStatus();
}

absl::Status PushText(GENERAL_NAMES* names, int type, absl::string_view text) {
  ASN1_STRING* const value = ASN1_IA5STRING_new();
  if (value != nullptr) ASN1_STRING_set(value, text.data(), static_cast<int>(text.size()));
  return Push(names, type, value);
}

absl::Status PushHost(GENERAL_NAMES* names, const std::string& host) {
  if (ASN1_OCTET_STRING* const address = a2i_IPADDRESS(host.c_str()))
    return Push(names, GEN_IPADD, address);
  DS_RETURN_IF_ERROR(CheckHost(host));
  return PushText(names, GEN_DNS, host);
}

}  // namespace

absl::StatusOr<AlternativeNames> ReadNames(const GENERAL_NAMES* names) {
  AlternativeNames result;
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int type = 0;
    const void* const value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
    if (type == GEN_URI)
      DS_RETURN_IF_ERROR(ReadUri(Text(static_cast<const ASN1_STRING*>(value)), result));
    if (type == GEN_DNS) result.hosts.push_back(Text(static_cast<const ASN1_STRING*>(value)));
    if (type == GEN_IPADD)
      result.hosts.push_back(AddressText(static_cast<const ASN1_OCTET_STRING*>(value)));
  }
  return result;
}

absl::StatusOr<ExtensionPtr> NamesExtension(const AlternativeNames& names) {
  const NamesPtr list(GENERAL_NAMES_new());
  if (list == nullptr) return OpenSslStatus(absl::StatusCode::kInternal, "cannot write names");
  if (!names.site.empty()) {
    DS_RETURN_IF_ERROR(
        PushText(list.get(), GEN_URI, absl::StrCat(kScheme, names.role, "/", names.site)));
  }
  for (const std::string& host : names.hosts) DS_RETURN_IF_ERROR(PushHost(list.get(), host));
  ExtensionPtr extension(X509V3_EXT_i2d(NID_subject_alt_name, /*crit=*/0, list.get()));
  if (extension == nullptr) return OpenSslStatus(absl::StatusCode::kInternal, "cannot write names");
  return extension;
}

}  // namespace ds::federated
