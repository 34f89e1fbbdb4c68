// JSON for files that people and scripts read.
#pragma once

#include <string>

#include "nlohmann/json.hpp"

namespace ds {

// `indent` < 0: on one line. Keys in the order in which they were given; NaN and infinities, which
// JSON lacks, become null. Names come from users' files: what is not UTF-8 becomes U+FFFD, where
// plain dump() would throw.
inline std::string JsonText(const nlohmann::ordered_json& json, int indent = 2) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false,
                   nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace ds
