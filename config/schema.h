// A program's configuration as the strict reader (config/reader.h) sees it: sections, keys, and
// what they must satisfy together. A program has a struct of its own with the defaults, binds its
// members once, and gets reading, overrides, printing and the reference from it:
//
//   struct ServerConfig { int64_t rounds = 10; };
//   ConfigSchema ServerSchema(ServerConfig& config) {
//     return {.sections = {{"server", "What the server does."}},
//             .fields = {{"server", "rounds", &config.rounds, Between(1, 1e6), "to run"}},
//             .example = {.yaml = "server: {rounds: 5}"}};
//   }
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/field.h"
#include "config/yaml_node.h"

namespace ds {

struct ConfigSection {
  std::string path;  // "data.augment"; at most one dot; a parent stands before its children
  std::string doc;
  // Key that a value in the section's place sets, as in `compression: auto`; empty: none.
  std::string shorthand = "";
};

// Where a field or section ("schedule.milestones") was written; for what was left at its default,
// the nearest place that was written.
using PositionOf = std::function<YamlPosition(absl::string_view path)>;

// What messages show to somebody who wrote something else altogether.
struct ConfigExample {
  std::string yaml;      // "model: {name: resnet8}"
  std::string override;  // "optimizer.learning_rate=0.05"
  std::string file;      // "configs/quickstart.yaml"
};

struct ConfigSchema {
  std::vector<ConfigSection> sections;  // in the order in which they are printed
  // In the order in which they are printed. The targets point into the program's struct, which must
  // outlive the schema and holds the defaults.
  std::vector<Field> fields;
  // Called when every value is in its own range: InvalidArgument (YamlError) for the first
  // contradiction among them, at the position of the field to mend. Null: nothing to check.
  std::function<absl::Status(const PositionOf& position_of)> check;
  ConfigExample example;
};

}  // namespace ds
