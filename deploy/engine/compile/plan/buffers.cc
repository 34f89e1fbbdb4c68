#include "deploy/engine/compile/plan/buffers.h"

#include <algorithm>

#include "deploy/engine/runtime/check/plan.h"

namespace ds::engine::compile {
namespace {

struct Life {
  int first = -1, last = -1;
};

std::vector<Life> LivesOf(const Program& program) {
  std::vector<Life> lives(program.tensors.size());
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const int step = static_cast<int>(i);
    for (const auto* ids : {&program.steps[i].inputs, &program.steps[i].outputs}) {
      for (const int id : *ids) {
        Life& life = lives[RootOf(program, id)];
        if (life.first < 0) life.first = step;
        life.last = step;
      }
    }
  }
  return lives;
}

// The operand that the step's result may lie on, or -1.
int OperandBelow(const Program& program, const std::vector<Life>& lives, int step) {
  const Step& what = program.steps[step];
  const int out = what.outputs[0];
  const ProgramTensor& result = program.tensors[out];
  if (!WorksInPlace(what.kind) || result.place != file::Place::kArena || result.view_of >= 0 ||
      lives[out].first != step) {
    return -1;
  }
  for (const int id : what.inputs) {
    const ProgramTensor& operand = program.tensors[id];
    const bool sole = std::count(what.inputs.begin(), what.inputs.end(), id) ==
                      static_cast<int64_t>(what.inputs.size());
    // The first operand, or one of the same dims; the buffer is read by no other operand.
    if (operand.place == file::Place::kArena && operand.view_of < 0 &&
        operand.dims == result.dims && operand.type == result.type && lives[id].last == step &&
        (sole || std::none_of(what.inputs.begin(), what.inputs.end(), [&](int other) {
           return other != id && RootOf(program, other) == id;
         }))) {
      return id;
    }
  }
  return -1;
}

}  // namespace

ProgramPlan PlanProgram(const Program& program, bool in_place) {
  const std::vector<Life> lives = LivesOf(program);
  // Tensors that share a buffer: the first of each chain stands for all.
  std::vector<int> below(program.tensors.size());
  for (size_t i = 0; i < below.size(); ++i) below[i] = static_cast<int>(i);
  for (size_t i = 0; in_place && i < program.steps.size(); ++i) {
    const int operand = OperandBelow(program, lives, static_cast<int>(i));
    if (operand >= 0) below[program.steps[i].outputs[0]] = below[operand];
  }
  std::vector<PlanBuffer> buffers;
  std::vector<int> buffer_of(program.tensors.size(), -1);
  int64_t apart = 0;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const ProgramTensor& tensor = program.tensors[i];
    if (tensor.place != file::Place::kArena || tensor.view_of >= 0 || lives[i].first < 0) continue;
    const int64_t bytes = Elements(tensor.dims) * BytesOf(tensor.type);
    apart += (bytes + file::kAlignment - 1) / file::kAlignment * file::kAlignment;
    int& buffer = buffer_of[below[i]];
    if (buffer < 0) {
      buffer = static_cast<int>(buffers.size());
      buffers.push_back({bytes, lives[i].first, lives[i].last});
    }
    buffers[buffer].first = std::min(buffers[buffer].first, lives[i].first);
    buffers[buffer].last = std::max(buffers[buffer].last, lives[i].last);
  }
  ProgramPlan plan{std::vector<int64_t>(program.tensors.size(), -1),
                   PlanArena(buffers, file::kAlignment)};
  plan.arena.apart = apart;
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const ProgramTensor& tensor = program.tensors[i];
    const int root = RootOf(program, static_cast<int>(i));
    const int buffer = buffer_of[below[root]];
    if (tensor.place != file::Place::kArena || buffer < 0 || lives[root].first < 0) continue;
    plan.offsets[i] = plan.arena.offsets[buffer];
    if (tensor.first > 0) plan.offsets[i] += tensor.first * BytesOf(tensor.type);
  }
  return plan;
}

}  // namespace ds::engine::compile
