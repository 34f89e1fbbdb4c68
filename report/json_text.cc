#include "report/json_text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace ds {

std::string JsonString(absl::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      absl::StrAppend(&json, "\\", std::string(1, c));
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&json, "\\u%04x", static_cast<unsigned>(c));
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string JsonNumber(double value) {
  if (!std::isfinite(value)) return "null";
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

void JsonObject::Add(absl::string_view key, int64_t value) { AddJson(key, absl::StrCat(value)); }
void JsonObject::Add(absl::string_view key, uint64_t value) { AddJson(key, absl::StrCat(value)); }

void JsonObject::AddJson(absl::string_view key, absl::string_view json) {
  if (!members_.empty()) absl::StrAppend(&members_, indent_ > 0 ? ",\n" : ", ");
  absl::StrAppend(&members_, std::string(static_cast<size_t>(indent_), ' '), JsonString(key), ": ",
                  json);
}

std::string JsonObject::ToString() const {
  return indent_ > 0 ? absl::StrCat("{\n", members_, "\n}") : absl::StrCat("{", members_, "}");
}

}  // namespace ds
