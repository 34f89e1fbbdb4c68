// A program as the bytes of a .dsm file.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/engine/compile/plan/buffers.h"
#include "deploy/engine/compile/program.h"
#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine::compile {

// Weights packed for each of `isas`; equal packings are stored once. Unimplemented where a sum of
// codes could leave 32 bits: names the operator.
absl::StatusOr<std::string> Emit(const Program& program, const ProgramPlan& plan,
                                 const std::vector<Isa>& isas);

}  // namespace ds::engine::compile
