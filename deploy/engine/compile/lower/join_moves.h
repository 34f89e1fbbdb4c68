// Moves of moves: what only other moves read is never written, they read where it came from; and
// where two undo each other, the result is a view. Exporters write attention's queries, keys and
// values as a transposition of all three and a slice of each.
#pragma once

#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

void JoinMoves(Program& program);

}  // namespace ds::engine::compile
