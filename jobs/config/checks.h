// What the fields of a configuration must satisfy together, once each holds a value of its own
// range.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "config/yaml_node.h"
#include "jobs/config/train_config.h"

namespace ds {

// Where a field or section ("schedule.milestones") was written; for what was left at its default,
// the nearest place that was written.
using PositionOf = std::function<YamlPosition(absl::string_view path)>;

// InvalidArgument for the first contradiction, at the position of the field to mend.
absl::Status CheckTrainConfig(const TrainConfig& config, const PositionOf& position_of);

}  // namespace ds
