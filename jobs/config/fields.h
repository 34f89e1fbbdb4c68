// The one table that binds YAML keys to the members of TrainConfig: reading, overriding, printing
// and the reference in docs/configuration.md all walk it, so a key has one name, one range and one
// sentence of documentation.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/yaml_node.h"
#include "jobs/config/train_config.h"

namespace ds {

using FieldTarget =
    std::variant<std::string*, bool*, int*, int64_t*, uint64_t*, double*, std::vector<double>*,
                 std::vector<int64_t>*, std::vector<std::string>*>;

// What a value must satisfy. For lists the range holds for each element.
struct FieldRule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;            // min itself is out
  bool below_max = false;            // max itself is out
  std::vector<std::string> choices;  // strings: empty for any
  bool name_pattern = false;         // strings: [A-Za-z0-9_.-]+, and not "." or ".."

  // "[0, 1)", ">= 1", "sgd | adamw | lamb"; empty for no rule.
  std::string ToString() const;
};

struct Field {
  std::string section;  // "data.augment"
  std::string key;      // "crop"
  FieldTarget target;
  FieldRule rule;
  std::string doc;  // one sentence: meaning, unit, what 0 or empty stands for

  std::string Path() const { return section + "." + key; }
};

struct Section {
  std::string path;  // "data.augment"; a parent stands before its children
  std::string doc;
  std::string shorthand =
      "";  // key that a value in the section's place sets, as in `compression: auto`; empty: none
};

// In the order of train_config.h. The targets point into `config`, which must outlive them.
std::vector<Field> ConfigFields(TrainConfig& config);
std::vector<Section> ConfigSections();

// Reads `node` into the field's member; InvalidArgument with the position for a wrong type or a
// value out of range.
absl::Status ReadField(const Field& field, const YamlNode& node);
// The member's value as YAML: doubles by their shortest exact decimal, strings quoted where YAML
// needs it.
std::string FormatField(const Field& field);
// "integer", "list of numbers", ...
std::string FieldTypeName(const Field& field);

}  // namespace ds
