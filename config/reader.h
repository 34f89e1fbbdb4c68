// The strict YAML reader. Unknown keys (the nearest known one is named), wrong types, duplicates
// and out-of-range values are refused with file:line:column.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "jobs/config/train_config.h"

namespace ds {

// Reads `path`, what it includes (`include: base.yaml`, relative to the including file, at most 8
// deep, no cycles; the including file wins), then applies `overrides`
// ("optimizer.learning_rate=0.05", values in YAML syntax). All problems of the file are found
// before anything starts; the first is reported: "configs/a.yaml:12:5: unknown key 'learning_rte'
// in 'optimizer'; did you mean 'learning_rate'?".
absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path,
                                            const std::vector<std::string>& overrides);
// The same from text; `origin` stands for the file in messages; `include` is refused. For tests and
// the fuzzer.
absl::StatusOr<TrainConfig> ParseTrainConfig(absl::string_view yaml, absl::string_view origin,
                                             const std::vector<std::string>& overrides);
// The whole config with defaults, as YAML that ReadTrainConfig takes back to the same config.
std::string PrintTrainConfig(const TrainConfig& config);

}  // namespace ds
