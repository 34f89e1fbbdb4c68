// What the fields of a configuration must satisfy together, once each holds a value of its own
// range.
#pragma once

#include "absl/status/status.h"
#include "config/schema.h"
#include "jobs/config/train_config.h"

namespace ds {

// InvalidArgument for the first contradiction, at the position of the field to mend.
absl::Status CheckTrainConfig(const TrainConfig& config, const PositionOf& position_of);

}  // namespace ds
