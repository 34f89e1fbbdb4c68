// A file with an operator of every kind of version 1.
#pragma once

#include <string>

namespace ds::engine::testing {

std::string EveryKindFile();

}  // namespace ds::engine::testing
