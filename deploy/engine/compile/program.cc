#include "deploy/engine/compile/program.h"

#include <algorithm>

#include "deploy/engine/runtime/file_view.h"

namespace ds::engine::compile {

int64_t BytesOf(file::Type type) { return ElementBytes(static_cast<uint8_t>(type)); }

int64_t RowBytes(const Program& program, int tensor) {
  const ProgramTensor& own = program.tensors[tensor];
  const ProgramTensor& rows = own.first >= 0 ? program.tensors[own.view_of] : own;
  return (rows.dims.empty() ? 1 : rows.dims.back()) * BytesOf(own.type);
}

std::vector<int> Readers(const Program& program) {
  std::vector<int> count(program.tensors.size(), 0);
  for (const Step& step : program.steps) {
    for (const int tensor : step.inputs) ++count[tensor];
  }
  for (const int tensor : program.outputs) ++count[tensor];
  return count;
}

std::vector<int> Writers(const Program& program) {
  std::vector<int> writers(program.tensors.size(), -1);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    for (const int tensor : program.steps[i].outputs) writers[tensor] = static_cast<int>(i);
  }
  return writers;
}

std::vector<bool> HaveViews(const Program& program) {
  std::vector<bool> viewed(program.tensors.size(), false);
  for (const ProgramTensor& tensor : program.tensors) {
    if (tensor.view_of >= 0) viewed[tensor.view_of] = true;
  }
  return viewed;
}

void DropUnread(Program& program) {
  std::vector<bool> needed(program.tensors.size(), false);
  for (const int tensor : program.outputs) needed[RootOf(program, tensor)] = true;
  for (size_t i = program.steps.size(); i-- > 0;) {
    Step& step = program.steps[i];
    const bool read = std::any_of(step.outputs.begin(), step.outputs.end(),
                                  [&](int tensor) { return needed[RootOf(program, tensor)]; });
    if (!read) {
      step.outputs.clear();
      continue;
    }
    for (const int tensor : step.inputs) needed[RootOf(program, tensor)] = true;
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
