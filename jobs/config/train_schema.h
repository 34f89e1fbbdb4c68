// Reads and prints training configurations: YAML files, text, and the reference in
// docs/configuration.md.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "config/schema.h"
#include "jobs/config/train_config.h"

namespace ds {

// Bound to `config`, which must outlive it.
ConfigSchema TrainSchema(TrainConfig& config);

// As ReadConfig and ParseConfig (config/reader.h), into a TrainConfig.
absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path,
                                            const std::vector<std::string>& overrides);
absl::StatusOr<TrainConfig> ParseTrainConfig(absl::string_view yaml, absl::string_view origin,
                                             const std::vector<std::string>& overrides);
// The whole configuration as YAML that ReadTrainConfig takes back to the same configuration.
std::string PrintTrainConfig(const TrainConfig& config);
// The reference's Markdown, with the defaults.
std::string TrainConfigReference();

}  // namespace ds
