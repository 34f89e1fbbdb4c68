// Integer files that a run wrote, as summaries list them.
#pragma once

#include <vector>

#include "nlohmann/json.hpp"
#include "report/summary.h"

namespace ds {

nlohmann::ordered_json ExportsJson(const std::vector<QuantizedExport>& exports);

}  // namespace ds
