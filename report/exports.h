// Integer files that a run wrote, as summaries list them.
#pragma once

#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "report/summary.h"

namespace ds {

// `metric` names what `accuracy` is.
nlohmann::ordered_json ExportsJson(const std::vector<QuantizedExport>& exports,
                                   const std::string& metric = "accuracy");

}  // namespace ds
