// A program as the records and constants of a .dsm file.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/compile/plan/buffers.h"
#include "deploy/engine/compile/program.h"
#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine::compile {

// Adds a program to what `writer` has of its current plan, weights packed for each of `isas`; equal
// packings are stored once. Unimplemented where a sum of codes could leave 32 bits: names the
// operator.
absl::Status Emit(const Program& program, const ProgramPlan& plan, const std::vector<Isa>& isas,
                  file::FileWriter& writer);

}  // namespace ds::engine::compile
