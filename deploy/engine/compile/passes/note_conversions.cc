#include <algorithm>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

// The first step that reads the tensor, or a view of it.
const Step* ReaderOf(const Program& program, int tensor) {
  for (const Step& step : program.steps) {
    for (const int input : step.inputs) {
      if (input == tensor || RootOf(program, input) == tensor) return &step;
    }
  }
  return nullptr;
}

std::string WhyDequantised(const Program& program, const Step& step) {
  const int result = step.outputs[0];
  if (program.tensors[result].place == file::Place::kOutput) return "the model's output is floats";
  const Step* reader = ReaderOf(program, result);
  while (reader != nullptr && reader->kind == file::OperatorKind::kMove)
    reader = ReaderOf(program, reader->outputs[0]);
  return reader == nullptr ? "its floats are only rearranged"
                           : absl::StrCat(Told(*reader), " behind it computes in float");
}

std::string WhyQuantised(const Program& program, const Step& step) {
  const int from = RootOf(program, step.inputs[0]);
  if (program.tensors[from].place == file::Place::kInput) return "the model's input is floats";
  for (const Step& maker : program.steps) {
    const bool makes = std::any_of(maker.outputs.begin(), maker.outputs.end(),
                                   [&](int output) { return RootOf(program, output) == from; });
    if (makes) return absl::StrCat(Told(maker), " in front of it computes in float");
  }
  return "";
}

std::string WhyMoved(const Program& program, const Step& step) {
  const int result = step.outputs[0];
  if (program.tensors[result].place == file::Place::kOutput)
    return "the model's output is wanted in this order";
  const Step* reader = ReaderOf(program, result);
  return reader == nullptr ? "" : absl::StrCat("rearranged for ", Told(*reader));
}

}  // namespace

void NoteConversions(Program& program) {
  for (Step& step : program.steps) {
    if (step.kind == file::OperatorKind::kDequantise) step.stays = WhyDequantised(program, step);
    if (step.kind == file::OperatorKind::kQuantise) {
      // Lowering has said why in front of it.
      step.stays =
          absl::StrCat(WhyQuantised(program, step), step.stays.empty() ? "" : ": ", step.stays);
    }
    if (step.kind == file::OperatorKind::kMove) step.stays = WhyMoved(program, step);
  }
}

}  // namespace ds::engine::compile
