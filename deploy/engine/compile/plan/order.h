// The order in which a program's steps run, changed so that less memory is live at once.
#pragma once

#include <vector>

#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

// Another order with the same results in which, as far as was found, the most that lives at one
// step is least: a breadth-first search over sets of steps that have run (what is live depends on
// the set alone, so that of each set the best way to it is kept), with the most promising ones of
// each size. Exact where no size has more sets than are kept.
// Numbers of steps.
std::vector<int> LeanOrder(const Program& program);

}  // namespace ds::engine::compile
