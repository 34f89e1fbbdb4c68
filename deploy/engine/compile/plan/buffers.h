// A program's tensors in the arena.
#pragma once

#include <vector>

#include "deploy/engine/compile/plan/plan.h"
#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

struct ProgramPlan {
  std::vector<int64_t> offsets;  // a tensor; -1 where it is not in the arena
  ArenaPlan arena;
};

// Tensors and their views live from the first write to the last read. `in_place`: an element-wise
// result lies on an operand of its dims that dies there.
ProgramPlan PlanProgram(const Program& program, bool in_place);

}  // namespace ds::engine::compile
