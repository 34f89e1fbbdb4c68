// One key of a configuration: its name, the value that it sets, what that value may be, and one
// sentence about it. A program lists its keys once, in a schema (config/schema.h), and reading,
// overriding, printing and the reference in its documentation all walk that list.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/yaml_node.h"

namespace ds {

// Something that YAML writes as a word: an enumerator, or a number that has a name. Words() makes
// one.
struct WordTarget {
  std::vector<std::string> names;
  std::function<size_t()> get;  // which of `names` the value has now; their number: none
  std::function<void(size_t name)> set;
};

// Where a value lies in the program's own structs. For all but a word the pointer's type is the
// value's; a list of one kind holds values of that kind; what may be absent is written "none" then.
using FieldTarget = std::variant<std::string*, bool*, int*, int64_t*, uint64_t*, double*,
                                 std::optional<int64_t>*, std::vector<double>*,
                                 std::vector<int64_t>*, std::vector<std::string>*, WordTarget>;

// `table`: each word and the value that it stands for. A value without a word, which only C++ can
// set, prints as "", which nobody reads back.
template <typename T>
WordTarget Words(T* target, std::vector<std::pair<std::string, T>> table) {
  WordTarget words;
  std::vector<T> values;
  for (auto& [name, value] : table) {
    words.names.push_back(std::move(name));
    values.push_back(value);
  }
  words.get = [target, values]() -> size_t {
    return static_cast<size_t>(std::find(values.begin(), values.end(), *target) - values.begin());
  };
  words.set = [target, values](size_t name) { *target = values[name]; };
  return words;
}

// What a value must satisfy. For lists the range holds for each element.
struct FieldRule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;            // min itself is out
  bool below_max = false;            // max itself is out
  std::vector<std::string> choices;  // strings: empty for any; words have theirs
  bool name_pattern = false;         // strings: [A-Za-z0-9_.-]+, and not "." or ".."

  // "[0, 1)", ">= 1", "sgd | adamw | lamb"; empty for no rule.
  std::string ToString() const;
};

// The rules that occur.
FieldRule Any();
FieldRule PlainName();                              // strings: see name_pattern
FieldRule OneOf(std::vector<std::string> choices);  // strings
FieldRule AtLeast(double min);
FieldRule Above(double min);
FieldRule Between(double min, double max);
FieldRule Fraction();      // [0, 1)
FieldRule OpenFraction();  // (0, 1)
FieldRule Share();         // (0, 1]

struct Field {
  std::string section;  // "data.augment"
  std::string key;      // "crop"
  FieldTarget target;
  FieldRule rule;
  std::string doc;  // one sentence: meaning, unit, what 0 or empty stands for

  std::string Path() const { return section + "." + key; }
  // What a value must be, as FieldRule::ToString: the rule, or a word's names.
  std::string Allowed() const;
};

// Whether `node` may be the field's value: InvalidArgument with the position for a wrong type or a
// value out of range.
absl::Status CheckField(const Field& field, const YamlNode& node);
// The same, and puts it where the field's target points.
absl::Status ReadField(const Field& field, const YamlNode& node);
// The value that is there now as YAML: doubles by their shortest exact decimal, strings quoted
// where YAML needs it.
std::string FormatField(const Field& field);
// "integer", "list of numbers", ...
std::string FieldTypeName(const Field& field);
// The shortest decimal that reads back to the same double.
std::string ShortestDouble(double value);

}  // namespace ds
