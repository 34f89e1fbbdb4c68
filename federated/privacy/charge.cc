#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/privacy/ledger.h"
#include "nlohmann/json.hpp"

namespace ds::federated {
namespace {

using Json = nlohmann::ordered_json;

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("a privacy charge's record: ", what));
}

absl::Status Get(const Json& json, const char* name, double& out) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number())
    return Refuse(absl::StrCat("'", name, "' must be a number"));
  out = found->get<double>();
  return std::isfinite(out) && out >= 0
             ? absl::OkStatus()
             : Refuse(absl::StrCat("'", name, "' must be at least 0 and finite"));
}

absl::Status Get(const Json& json, const char* name, int64_t& out) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_number_integer() ||
      (found->is_number_unsigned() && found->get<uint64_t>() > INT64_MAX))
    return Refuse(absl::StrCat("'", name, "' must be a whole number"));
  out = found->get<int64_t>();
  return out >= 0 ? absl::OkStatus() : Refuse(absl::StrCat("'", name, "' must be at least 0"));
}

absl::Status Get(const Json& json, const char* name, std::string& out) {
  const auto found = json.find(name);
  if (found == json.end() || !found->is_string())
    return Refuse(absl::StrCat("'", name, "' must be a text"));
  out = found->get<std::string>();
  return absl::OkStatus();
}

}  // namespace

std::string EncodeCharge(const Charge& charge) {
  Json json;
  json["round"] = charge.round;
  json["mechanism"] = charge.release.mechanism;
  json["sensitivity"] = charge.release.sensitivity;
  json["variance"] = charge.release.variance;
  json["sharers"] = charge.release.sharers;
  json["dimension"] = charge.release.dimension;
  json["sampling"] = charge.release.sampling;
  json["sampling_rate"] = charge.release.sampling_rate;
  json["epsilon"] = charge.epsilon;
  return json.dump();
}

absl::StatusOr<Charge> DecodeCharge(absl::string_view text) {
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Refuse("it is no JSON object");
  constexpr size_t kFields = 9;
  if (json.size() != kFields)
    return Refuse(absl::StrCat("it has ", json.size(), " fields, not ", kFields));
  Charge charge;
  Release& release = charge.release;
  DS_RETURN_IF_ERROR(Get(json, "round", charge.round));
  DS_RETURN_IF_ERROR(Get(json, "mechanism", release.mechanism));
  DS_RETURN_IF_ERROR(Get(json, "sensitivity", release.sensitivity));
  DS_RETURN_IF_ERROR(Get(json, "variance", release.variance));
  DS_RETURN_IF_ERROR(Get(json, "sharers", release.sharers));
  DS_RETURN_IF_ERROR(Get(json, "dimension", release.dimension));
  DS_RETURN_IF_ERROR(Get(json, "sampling", release.sampling));
  DS_RETURN_IF_ERROR(Get(json, "sampling_rate", release.sampling_rate));
  DS_RETURN_IF_ERROR(Get(json, "epsilon", charge.epsilon));
  return charge;
}

}  // namespace ds::federated
