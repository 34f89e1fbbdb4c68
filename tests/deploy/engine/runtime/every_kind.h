// A file with an operator of every kind that there is.
#pragma once

#include <string>

namespace ds::engine::testing {

std::string EveryKindFile();

}  // namespace ds::engine::testing
