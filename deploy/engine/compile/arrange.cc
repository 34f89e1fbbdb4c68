#include "deploy/engine/compile/arrange.h"

#include <algorithm>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "deploy/engine/compile/passes/passes.h"
#include "deploy/engine/compile/plan/order.h"

namespace ds::engine::compile {
namespace {

// The arena's plan, of the steps as they are or in an order that takes less.
ProgramPlan Plan(Program& program, const PassSwitches& passes) {
  ProgramPlan plan = PlanProgram(program, passes.reuse_in_place);
  if (!passes.reorder_steps) return plan;
  const std::vector<int> order = LeanOrder(program);
  if (std::is_sorted(order.begin(), order.end())) return plan;
  Program turned = program;
  for (size_t i = 0; i < order.size(); ++i) turned.steps[i] = program.steps[order[i]];
  ProgramPlan other = PlanProgram(turned, passes.reuse_in_place);
  if (other.arena.bytes >= plan.arena.bytes) return plan;
  program = std::move(turned);
  other.arena.way += ", steps reordered";
  return other;
}

// Bytes of images from which on chains may begin, the greatest first.
std::set<int64_t, std::greater<>> Beginnings(const Program& program) {
  std::set<int64_t, std::greater<>> bytes;
  for (const ProgramTensor& tensor : program.tensors) {
    if (tensor.type != file::Type::kUint8 || tensor.dims.size() != 4) continue;
    const int64_t image = tensor.dims[1] * tensor.dims[2] * tensor.dims[3];
    if (image >= kLeastChain) bytes.insert(image);
  }
  return bytes;
}

}  // namespace

ProgramPlan ArrangeSteps(Program& program, const CompileOptions& options) {
  const PassSwitches& passes = options.passes;
  if (passes.fuse_chains && options.chain_bytes) FuseChains(program, *options.chain_bytes);
  Program apart = program;
  ProgramPlan plan = Plan(program, passes);
  if (!passes.fuse_chains || options.chain_bytes) return plan;
  int64_t enough = plan.arena.bytes - kLeastChain;
  bool chained = false;
  for (const int64_t bytes : Beginnings(apart)) {
    Program fused = apart;
    FuseChains(fused, bytes);
    if (fused.steps.size() == apart.steps.size()) continue;
    ProgramPlan other = Plan(fused, passes);
    if (other.arena.bytes > enough) continue;
    enough = other.arena.bytes - 1;
    program = std::move(fused);
    plan = std::move(other);
    chained = true;
  }
  if (!chained) FuseChains(program, kNoChains);
  return plan;
}

}  // namespace ds::engine::compile
