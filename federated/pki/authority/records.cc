#include "federated/pki/authority/records.h"

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/pki/x509/hex.h"
#include "nlohmann/json.hpp"

namespace ds::federated {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kDigestDigits = 64, kSerialDigits = 32;
constexpr int64_t kLatest = int64_t{1} << 40;  // seconds: far behind any certificate

absl::Status Fault(const char* field) {
  return absl::InvalidArgumentError(
      absl::StrCat("the authority's record has no '", field, "', or one that cannot be"));
}

absl::StatusOr<Json> Parse(absl::string_view text) {
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return absl::InvalidArgumentError("the authority's record is no JSON object");
  return json;
}

absl::StatusOr<std::string> Text(const Json& json, const char* field) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_string()) return Fault(field);
  return found->get<std::string>();
}

// Of so many digits; empty where that is allowed.
absl::StatusOr<std::string> Hex(const Json& json, const char* field, size_t digits,
                                bool may_be_empty) {
  DS_ASSIGN_OR_RETURN(std::string text, Text(json, field));
  if (!IsHex(text, digits) && !(may_be_empty && text.empty())) return Fault(field);
  return text;
}

absl::StatusOr<absl::Time> Date(const Json& json, const char* field) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_number_integer()) return Fault(field);
  const auto seconds = found->get<int64_t>();
  if (seconds < 0 || seconds > kLatest) return Fault(field);
  return absl::FromUnixSeconds(seconds);
}

}  // namespace

std::string Encode(const TokenRecord& record) {
  const Json json = {{"site", record.site},
                     {"role", record.role},
                     {"secret_sha256", record.secret_digest},
                     {"issued", absl::ToUnixSeconds(record.issued)},
                     {"expires", absl::ToUnixSeconds(record.expires)},
                     {"used_by_key", record.key_digest},
                     {"serial", record.serial}};
  return json.dump(1) + "\n";
}

std::string Encode(const CertificateRecord& record) {
  const Json json = {{"site", record.site},         {"role", record.role},
                     {"key", record.key_digest},    {"renews", record.parent},
                     {"renewals", record.renewals}, {"certificate", record.certificate}};
  return json.dump(1) + "\n";
}

absl::StatusOr<TokenRecord> DecodeToken(absl::string_view text) {
  DS_ASSIGN_OR_RETURN(const Json json, Parse(text));
  TokenRecord record;
  DS_ASSIGN_OR_RETURN(record.site, Text(json, "site"));
  DS_ASSIGN_OR_RETURN(record.role, Text(json, "role"));
  DS_ASSIGN_OR_RETURN(record.secret_digest, Hex(json, "secret_sha256", kDigestDigits, false));
  DS_ASSIGN_OR_RETURN(record.issued, Date(json, "issued"));
  DS_ASSIGN_OR_RETURN(record.expires, Date(json, "expires"));
  DS_ASSIGN_OR_RETURN(record.key_digest, Hex(json, "used_by_key", kDigestDigits, true));
  DS_ASSIGN_OR_RETURN(record.serial, Hex(json, "serial", kSerialDigits, true));
  return record;
}

absl::StatusOr<CertificateRecord> DecodeCertificate(absl::string_view text) {
  DS_ASSIGN_OR_RETURN(const Json json, Parse(text));
  CertificateRecord record;
  DS_ASSIGN_OR_RETURN(record.site, Text(json, "site"));
  DS_ASSIGN_OR_RETURN(record.role, Text(json, "role"));
  DS_ASSIGN_OR_RETURN(record.key_digest, Hex(json, "key", kDigestDigits, false));
  DS_ASSIGN_OR_RETURN(record.parent, Hex(json, "renews", kSerialDigits, true));
  DS_ASSIGN_OR_RETURN(record.certificate, Text(json, "certificate"));
  const auto renewals = json.find("renewals");
  if (renewals == json.end() || !renewals->is_array()) return Fault("renewals");
  for (const Json& serial : *renewals) {
    if (!serial.is_string() || !IsHex(serial.get_ref<const std::string&>(), kSerialDigits))
      return Fault("renewals");
    record.renewals.push_back(serial.get<std::string>());
  }
  return record;
}

}  // namespace ds::federated
