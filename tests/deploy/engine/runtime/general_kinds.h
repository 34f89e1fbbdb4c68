// A file with an operator of every general kind (general.h).
#pragma once

#include <string>

namespace ds::engine::testing {

std::string GeneralKindsFile();

}  // namespace ds::engine::testing
