// Verifies a file's plan: that each operator reads what an earlier one wrote, that none writes
// where nothing may be written, and that no two buffers whose lives meet share a byte of the arena.
// A buffer lives from the first write into it, or into a slice of it, to the last read. Time and
// memory grow with the file's tables only.
#pragma once

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

// Kinds whose kernels read an element before they write the same place, and no other: what a result
// may lie on its dying operand for. Planners and the check go by it.
bool WorksInPlace(file::OperatorKind kind);

Status CheckPlan(const FileView& view);

}  // namespace ds::engine
