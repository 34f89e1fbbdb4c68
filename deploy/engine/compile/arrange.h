// Which convolutions run as chains, in which order steps run, and where tensors lie in the arena:
// decided together, by what the arena takes.
#pragma once

#include "deploy/engine/compile/compile.h"
#include "deploy/engine/compile/plan/buffers.h"
#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

// Changes the program's steps as the plan that is returned has them. Chains are no faster than
// their convolutions apart (docs/benchmarks.md), but what is between is in no arena. They are made
// from the number of bytes on that gives the smallest arena, the greatest of such, where that saves
// more than a thread's bands may take; never of images below kLeastChain bytes, which stay in a
// second-level cache, while weights would be read again for each band.
ProgramPlan ArrangeSteps(Program& program, const CompileOptions& options);
inline constexpr int64_t kLeastChain = 128 << 10;

}  // namespace ds::engine::compile
