#include "federated/round/records.h"

#include <algorithm>
#include <array>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/hex.h"
#include "base/status.h"
#include "federated/round/fields.h"
#include "nlohmann/json.hpp"
#include "report/json.h"

namespace ds::federated {
namespace {

using Json = nlohmann::ordered_json;

// In the order of Record's alternatives.
constexpr std::array<const char*, std::variant_size_v<Record>> kNames = {
    "run_started",     "site_joined",    "model_fixed",        "setup_started",
    "secure_given",    "keys_closed",    "shares_asked_again", "shares_closed",
    "setup_abandoned", "round_planned",  "update_committed",   "survivors_fixed",
    "echoes_closed",   "answers_closed", "privacy_charged",    "round_published",
    "round_abandoned", "snapshot_taken", "stop_asked",         "run_ended"};

constexpr std::array<const char*, 4> kSteps = {"keys", "shares", "echo", "answer"};
constexpr std::array<const char*, 5> kStates = {"running", "finished", "failed", "stopped",
                                                "budget_spent"};
const auto& NamesOf(SecureStep) { return kSteps; }
const auto& NamesOf(EndState) { return kStates; }

class Writer {
 public:
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (std::is_enum_v<T>) {
      json_[name] = NamesOf(value)[static_cast<size_t>(value)];
    } else if constexpr (requires(Writer & w) { Fields(w, value); }) {
      Writer inner;
      Fields(inner, value);
      json_[name] = std::move(inner.json_);
    } else {
      json_[name] = value;
    }
  }
  void Digest(const char* name, const std::string& digest) { json_[name] = digest; }
  void Bytes(const char* name, const std::string& bytes) {
    json_[name] = absl::Base64Escape(bytes);
  }
  Json Take() { return std::move(json_); }

 private:
  Json json_ = Json::object();
};

// Keeps the first error and then reads nothing more.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) status_ = absl::DataLossError(absl::StrCat(where_, " is no object"));
  }

  template <typename T>
  void operator()(const char* name, T& value) {
    const Json* field = Find(name);
    if (field == nullptr) return;
    if constexpr (std::is_enum_v<T>) {
      const auto& names = NamesOf(value);
      const auto* text = field->get_ptr<const std::string*>();
      const auto found =
          text == nullptr ? names.end() : std::find(names.begin(), names.end(), *text);
      if (found == names.end()) return Fail(name, "is none of its values");
      value = static_cast<T>(found - names.begin());
    } else if constexpr (requires(Reader & r) { Fields(r, value); }) {
      Reader inner(*field, absl::StrCat(where_, ".", name));
      Fields(inner, value);
      if (status_.ok()) status_ = std::move(inner.status_);
    } else if (!Read(*field, value)) {
      Fail(name, "has another type, or is out of range");
    }
  }
  void Digest(const char* name, std::string& digest) {
    (*this)(name, digest);
    if (status_.ok() && !IsSha256Hex(digest)) Fail(name, "is no digest");
  }
  void Bytes(const char* name, std::string& bytes) {
    std::string text;
    (*this)(name, text);
    if (status_.ok() && !absl::Base64Unescape(text, &bytes)) Fail(name, "is not base64");
  }
  absl::Status Take() { return std::move(status_); }

 private:
  const Json* Find(const char* name) {
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(name);
    if (found != json_.end()) return &*found;
    Fail(name, "is missing");
    return nullptr;
  }
  void Fail(const char* name, const char* what) {
    status_ = absl::DataLossError(absl::StrCat(where_, ".", name, " ", what));
  }
  static bool Read(const Json& json, bool& value) {
    if (json.is_boolean()) value = json.get<bool>();
    return json.is_boolean();
  }
  static bool Read(const Json& json, double& value) {
    if (json.is_number()) value = json.get<double>();
    return json.is_number();
  }
  static bool Read(const Json& json, std::string& value) {
    if (json.is_string()) value = json.get<std::string>();
    return json.is_string();
  }
  static bool Read(const Json& json, uint64_t& value) {
    if (json.is_number_unsigned()) value = json.get<uint64_t>();
    return json.is_number_unsigned();
  }
  template <typename T>
  requires std::same_as<T, int64_t> || std::same_as<T, int>
  static bool Read(const Json& json, T& value) {
    if (!json.is_number_integer()) return false;
    if (json.is_number_unsigned()) {
      const auto wide = json.get<uint64_t>();
      value = static_cast<T>(wide);
      return wide <= static_cast<uint64_t>(std::numeric_limits<T>::max());
    }
    const auto wide = json.get<int64_t>();
    value = static_cast<T>(wide);
    return wide >= std::numeric_limits<T>::min();
  }
  static bool Read(const Json& json, std::vector<std::string>& value) {
    if (!json.is_array()) return false;
    value.clear();
    for (const Json& item : json) {
      if (!item.is_string()) return false;
      value.push_back(item.get<std::string>());
    }
    return true;
  }

  const Json& json_;
  const std::string where_;
  absl::Status status_;
};

template <size_t kIndex = 0>
absl::StatusOr<Record> ReadAs(size_t index, const Json& json) {
  if constexpr (kIndex < std::variant_size_v<Record>) {
    if (index != kIndex) return ReadAs<kIndex + 1>(index, json);
    std::variant_alternative_t<kIndex, Record> record;
    Reader reader(json, kNames[kIndex]);
    Fields(reader, record);
    DS_RETURN_IF_ERROR(reader.Take());
    return record;
  } else {
    return absl::DataLossError("unknown record");
  }
}

absl::StatusOr<Record> Read(const Json& json) {
  const auto type = json.is_object() ? json.find("type") : json.end();
  if (type == json.end() || !type->is_string()) {
    return absl::DataLossError("a record without a type");
  }
  const auto found = std::find(kNames.begin(), kNames.end(), type->get_ref<const std::string&>());
  if (found == kNames.end()) {
    return absl::DataLossError(absl::StrCat("unknown record '", type->get<std::string>(), "'"));
  }
  return ReadAs(found - kNames.begin(), json);
}

}  // namespace

const char* RecordName(const Record& record) { return kNames[record.index()]; }

std::string EncodeRecords(absl::Span<const Record> records) {
  Json list = Json::array();
  for (const Record& record : records) {
    Writer writer;
    writer("type", std::string(RecordName(record)));
    std::visit([&](const auto& value) { Fields(writer, value); }, record);
    list.push_back(writer.Take());
  }
  return JsonText(list, -1);
}

absl::StatusOr<std::vector<Record>> DecodeRecords(absl::string_view text) {
  const Json list = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!list.is_array() || list.empty()) {
    return absl::DataLossError("an entry of the log is no list of records");
  }
  std::vector<Record> records;
  for (const Json& item : list) {
    DS_ASSIGN_OR_RETURN(Record record, Read(item));
    records.push_back(std::move(record));
  }
  // Unknown and repeated fields, other spellings of a number: what was not written here.
  if (EncodeRecords(records) != text) {
    return absl::DataLossError(absl::StrCat("an entry of the log (", RecordName(records.front()),
                                            " first) is not as it was written"));
  }
  return records;
}

}  // namespace ds::federated
