// What another program prints.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "deploy/engine/runtime/status.h"

namespace ds::engine {

// Runs command[0], a path or a name that PATH finds, with what `environment` adds to this process'
// own, and waits for it. Errors are those of starting it, and an exit code other than 0, with the
// last line that it wrote to its standard error.
Status ProgramOutput(const std::vector<std::string>& command,
                     const std::vector<std::pair<std::string, std::string>>& environment,
                     std::string& output);

}  // namespace ds::engine
