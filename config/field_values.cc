// Values of single fields: from YAML to a member, and back.
#include <charconv>
#include <system_error>
#include <type_traits>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "config/field.h"
#include "config/suggestion.h"

namespace ds {
namespace {

std::string Describe(const YamlNode& node) {
  switch (node.kind) {
    case YamlNode::Kind::kNull:
      return "nothing";
    case YamlNode::Kind::kMap:
      return "a mapping";
    case YamlNode::Kind::kSequence:
      return "a list";
    case YamlNode::Kind::kScalar:
      break;
  }
  return node.quoted ? absl::StrCat("the string \"", node.text, "\"")
                     : absl::StrCat("'", node.text, "'");
}

absl::Status TypeError(const Field& field, const YamlNode& node, absl::string_view expected) {
  return YamlError(node.position, absl::StrCat("'", field.Path(), "' must be ", expected, ", not ",
                                               Describe(node)));
}

absl::Status RangeError(const Field& field, const YamlNode& node) {
  return YamlError(node.position, absl::StrCat("'", field.Path(), "' is ", node.text,
                                               "; it must be ", field.rule.ToString()));
}

bool IsPlainScalar(const YamlNode& node) {
  return node.kind == YamlNode::Kind::kScalar && !node.quoted;
}

bool InRange(const FieldRule& rule, double value) {
  return (rule.above_min ? value > rule.min : value >= rule.min) &&
         (rule.below_max ? value < rule.max : value <= rule.max);
}

// What from_chars takes: no leading '+'.
absl::string_view Digits(const std::string& text) {
  absl::string_view digits(text);
  if (digits.size() > 1 && digits[0] == '+' && absl::ascii_isdigit(digits[1]))
    digits.remove_prefix(1);
  return digits;
}

// Octal in YAML 1.1, decimal in 1.2: so neither here.
bool HasLeadingZero(absl::string_view digits) {
  if (!digits.empty() && digits[0] == '-') digits.remove_prefix(1);
  return digits.size() > 1 && digits[0] == '0' && absl::ascii_isdigit(digits[1]);
}

template <typename T>
absl::Status ReadValue(const Field& field, const YamlNode& node,
                       T* out) requires std::is_integral_v<T> {
  if (!IsPlainScalar(node)) {
    return TypeError(field, node, node.quoted ? "an integer (without quotes)" : "an integer");
  }
  const absl::string_view digits = Digits(node.text);
  T value{};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool all = end == digits.data() + digits.size();
  if (error == std::errc::result_out_of_range && all) return RangeError(field, node);
  if (std::is_unsigned_v<T> && digits.size() > 1 && digits[0] == '-' &&
      absl::ascii_isdigit(digits[1])) {
    return RangeError(field, node);
  }
  if (error != std::errc() || !all) return TypeError(field, node, "an integer (decimal digits)");
  if (HasLeadingZero(digits)) return TypeError(field, node, "an integer without leading zeros");
  if (!InRange(field.rule, static_cast<double>(value))) return RangeError(field, node);
  *out = value;
  return absl::OkStatus();
}

absl::Status ReadValue(const Field& field, const YamlNode& node, double* out) {
  if (!IsPlainScalar(node)) {
    return TypeError(field, node, node.quoted ? "a number (without quotes)" : "a number");
  }
  const absl::string_view digits = Digits(node.text);
  double value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool all = end == digits.data() + digits.size();
  if (error == std::errc::result_out_of_range && all) {
    return YamlError(node.position, absl::StrCat("'", field.Path(), "' is ", node.text,
                                                 ", beyond what a double can hold"));
  }
  const std::string lower = absl::AsciiStrToLower(node.text);
  if (absl::StrContains(lower, "inf") || absl::StrContains(lower, "nan")) {
    return TypeError(field, node, "a finite number");
  }
  if (error != std::errc() || !all) return TypeError(field, node, "a number");
  if (HasLeadingZero(digits)) return TypeError(field, node, "a number without leading zeros");
  if (!InRange(field.rule, value)) return RangeError(field, node);
  *out = value;
  return absl::OkStatus();
}

absl::Status ReadValue(const Field& field, const YamlNode& node, bool* out) {
  if (!IsPlainScalar(node) || (node.text != "true" && node.text != "false")) {
    return TypeError(field, node, "true or false");
  }
  *out = node.text == "true";
  return absl::OkStatus();
}

bool IsName(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '.' && c != '-') return false;
  }
  return !text.empty() && text.size() <= 128 && text != "." && text != "..";
}

absl::Status ChoiceError(const Field& field, const YamlNode& node,
                         const std::vector<std::string>& choices) {
  return YamlError(node.position,
                   absl::StrCat("'", field.Path(), "' is '", node.text, "'; it must be ",
                                field.Allowed(), Suggestion(node.text, choices)));
}

absl::Status ReadValue(const Field& field, const YamlNode& node, std::string* out) {
  if (node.kind != YamlNode::Kind::kScalar) return TypeError(field, node, "a string");
  for (const char c : node.text) {
    if (absl::ascii_iscntrl(c)) {
      return YamlError(node.position, absl::StrCat("'", field.Path(),
                                                   "' holds a line break or control character"));
    }
  }
  const FieldRule& rule = field.rule;
  if (rule.name_pattern && !IsName(node.text)) return ChoiceError(field, node, {});
  if (!rule.choices.empty() && !absl::c_linear_search(rule.choices, node.text)) {
    return ChoiceError(field, node, rule.choices);
  }
  *out = node.text;
  return absl::OkStatus();
}

absl::Status ReadValue(const Field& field, const YamlNode& node, std::optional<int64_t>* out) {
  if (node.kind == YamlNode::Kind::kScalar && node.text == "none") {
    out->reset();
    return absl::OkStatus();
  }
  return ReadValue(field, node, &out->emplace());
}

template <typename T>
absl::Status ReadValue(const Field& field, const YamlNode& node, std::vector<T>* out) {
  constexpr bool kInteger = std::is_integral_v<T>;
  if (node.kind != YamlNode::Kind::kSequence) {
    return TypeError(field, node,
                     kInteger                         ? "a list of integers, as in [30, 60]"
                     : std::is_same_v<T, std::string> ? "a list of strings, as in [\"head.*\"]"
                                                      : "a list of numbers, as in [0.5]");
  }
  std::vector<T> values(node.items.size());
  for (size_t i = 0; i < values.size(); ++i) {
    DS_RETURN_IF_ERROR(ReadValue(field, node.items[i], &values[i]));
  }
  *out = std::move(values);
  return absl::OkStatus();
}

enum Store { kCheckOnly, kStore };

template <typename T>
absl::Status Read(const Field& field, const YamlNode& node, T* target, Store store) {
  T value{};
  DS_RETURN_IF_ERROR(ReadValue(field, node, &value));
  if (store == kStore) *target = std::move(value);
  return absl::OkStatus();
}

absl::Status Read(const Field& field, const YamlNode& node, const WordTarget& words, Store store) {
  std::string word;
  DS_RETURN_IF_ERROR(ReadValue(field, node, &word));
  const auto found = absl::c_find(words.names, word);
  if (found == words.names.end()) return ChoiceError(field, node, words.names);
  if (store == kStore) words.set(static_cast<size_t>(found - words.names.begin()));
  return absl::OkStatus();
}

// Plain only where no reader of YAML could take it for anything but this string.
std::string QuoteIfNeeded(const std::string& text) {
  static constexpr const char* kWords[] = {"null", "true", "false", "yes", "no",
                                           "on",   "off",  "y",     "n"};
  bool plain = !text.empty() && absl::ascii_isalpha(text[0]);
  for (const char c : text)
    plain &= absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '/' || c == '-';
  for (const char* word : kWords) plain &= !absl::EqualsIgnoreCase(text, word);
  if (plain) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

std::string FormatValue(const std::string& value) { return QuoteIfNeeded(value); }
std::string FormatValue(bool value) { return value ? "true" : "false"; }
std::string FormatValue(double value) { return ShortestDouble(value); }
template <typename T>
std::string FormatValue(T value) requires std::is_integral_v<T> {
  return absl::StrCat(value);
}
std::string FormatValue(const std::optional<int64_t>& value) {
  return value.has_value() ? absl::StrCat(*value) : "none";
}
template <typename T>
std::string FormatValue(const std::vector<T>& values) {
  return absl::StrCat("[",
                      absl::StrJoin(values, ", ",
                                    [](std::string* out, const T& value) {
                                      absl::StrAppend(out, FormatValue(value));
                                    }),
                      "]");
}

template <typename T>
std::string FormatTarget(const T* target) {
  return FormatValue(*target);
}
std::string FormatTarget(const WordTarget& words) {
  const size_t name = words.get();
  return FormatValue(name < words.names.size() ? words.names[name] : std::string());
}

const char* TypeName(const std::string*) { return "string"; }
const char* TypeName(const WordTarget&) { return "string"; }
const char* TypeName(const bool*) { return "bool"; }
const char* TypeName(const double*) { return "number"; }
const char* TypeName(const std::optional<int64_t>*) { return "integer"; }
const char* TypeName(const std::vector<double>*) { return "list of numbers"; }
const char* TypeName(const std::vector<int64_t>*) { return "list of integers"; }
const char* TypeName(const std::vector<std::string>*) { return "list of strings"; }
template <typename T>
const char* TypeName(const T*) requires std::is_integral_v<T> {
  return "integer";
}

}  // namespace

std::string ShortestDouble(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

absl::Status CheckField(const Field& field, const YamlNode& node) {
  return std::visit([&](const auto& target) { return Read(field, node, target, kCheckOnly); },
                    field.target);
}

absl::Status ReadField(const Field& field, const YamlNode& node) {
  return std::visit([&](const auto& target) { return Read(field, node, target, kStore); },
                    field.target);
}

std::string FormatField(const Field& field) {
  return std::visit([](const auto& target) { return FormatTarget(target); }, field.target);
}

std::string FieldTypeName(const Field& field) {
  return std::visit([](const auto& target) { return std::string(TypeName(target)); }, field.target);
}

}  // namespace ds
