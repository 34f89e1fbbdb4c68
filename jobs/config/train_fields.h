// The one table that binds YAML's keys to the members of a TrainConfig: a key has one name, one
// range and one sentence of documentation.
#pragma once

#include <vector>

#include "config/field.h"
#include "jobs/config/train_config.h"

namespace ds {

// In the order in which they are printed. The targets point into `config`, which must outlive them.
std::vector<Field> TrainFields(TrainConfig& config);

}  // namespace ds
