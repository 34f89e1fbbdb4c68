// Words for an operator that is not known.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ds {

// "" or "; nearest to it are A, B": supported operators whose names are like `op`, three at most.
std::string NearestOps(absl::string_view op);

}  // namespace ds
