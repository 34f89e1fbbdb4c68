// The strict YAML reader. Unknown keys (the nearest known one is named), wrong types, duplicates
// and out-of-range values are refused with file:line:column.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/schema.h"

namespace ds {

// Fills what `schema` points to from `path`, what it includes (`include: base.yaml`, relative to
// the including file, at most 8 deep, no cycles; the including file wins), then `overrides`
// ("optimizer.learning_rate=0.05", values in YAML syntax). All problems of the files are found
// before anything starts; the first is reported: "configs/a.yaml:12:5: unknown key 'learning_rte'
// in 'optimizer'; did you mean 'learning_rate'?". After an error the values are unspecified.
absl::Status ReadConfig(const ConfigSchema& schema, const std::string& path,
                        const std::vector<std::string>& overrides);
// The same from text; `origin` stands for the file in messages; `include` is refused.
absl::Status ParseConfig(const ConfigSchema& schema, absl::string_view yaml,
                         absl::string_view origin, const std::vector<std::string>& overrides);

// The values that are there now, as YAML that ReadConfig takes back to the same values.
std::string PrintConfig(const ConfigSchema& schema);
// Markdown for the documentation: one heading and one table a section (key, type, default, range,
// meaning), the defaults being the values that are there now.
std::string ConfigReference(const ConfigSchema& schema);

}  // namespace ds
