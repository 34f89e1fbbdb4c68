#include <algorithm>
#include <map>

#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

// Kernels that read and write rows wherever they lie.
bool TakesSlices(const Step& step) {
  if (const auto* quantise = std::get_if<file::QuantiseParameters>(&step.parameters)) {
    return quantise->planes == 1;
  }
  return step.kind != OperatorKind::kMove && step.kind != OperatorKind::kConcat &&
         step.kind != OperatorKind::kMatMulF32 && step.kind != OperatorKind::kGather &&
         !file::IsGeneral(step.kind);
}

// Floats of a quantisation lie densely.
bool MustBeDense(const Step& step, int tensor, bool writes) {
  if (!TakesSlices(step)) return true;
  const bool codes = step.kind == OperatorKind::kQuantise ? writes : !writes;
  return std::holds_alternative<file::QuantiseParameters>(step.parameters) && !codes;
}

// Makes `part` a slice of `base` that begins at `first`; what were its slices are the base's.
void MakeSlice(Program& program, int part, int base, int64_t first) {
  for (ProgramTensor& other : program.tensors) {
    if (other.view_of != part) continue;
    other.view_of = base;
    other.first += first;
  }
  program.tensors[part].view_of = base;
  program.tensors[part].first = first;
}

}  // namespace

void JoinWithoutCopies(Program& program) {
  for (size_t i = program.steps.size(); i-- > 0;) {
    Step& join = program.steps[i];
    if (join.kind != OperatorKind::kConcat) continue;
    const int output = join.outputs[0];
    const ProgramTensor& whole = program.tensors[output];
    const int64_t rows = Elements(whole.dims) / (whole.dims.empty() ? 1 : whole.dims.back());
    const bool densest =
        std::get<file::ConcatParameters>(join.parameters).outer == rows && !whole.dims.empty();
    if (!densest || whole.place != file::Place::kArena) continue;
    // A reshape of the result stays a reshape; of a slice there is none.
    const int base = whole.view_of < 0 ? output : whole.view_of;
    const int64_t before = whole.view_of < 0 ? 0 : whole.first;
    if (before < 0) continue;
    const auto fits = [&](int part) {
      const ProgramTensor& tensor = program.tensors[part];
      if (tensor.place != file::Place::kArena || tensor.view_of >= 0 ||
          tensor.dims.size() != whole.dims.size() ||
          std::count(join.inputs.begin(), join.inputs.end(), part) != 1) {
        return false;
      }
      for (const ProgramTensor& other : program.tensors) {
        if (other.view_of == part && other.first < 0) return false;
      }
      for (const Step& step : program.steps) {
        if (&step == &join) continue;
        for (const int id : step.inputs) {
          if (RootOf(program, id) == part && MustBeDense(step, id, false)) return false;
        }
        for (const int id : step.outputs) {
          if (RootOf(program, id) == part && MustBeDense(step, id, true)) return false;
        }
      }
      return true;
    };
    // All or none: a concatenation copies all that it joins.
    if (!std::all_of(join.inputs.begin(), join.inputs.end(), fits)) continue;
    int64_t first = before;
    for (const int part : join.inputs) {
      const int64_t columns = program.tensors[part].dims.back();
      MakeSlice(program, part, base, first);
      first += columns;
    }
    join.outputs.clear();
  }
  std::erase_if(program.steps, [](const Step& step) { return step.outputs.empty(); });
}

}  // namespace ds::engine::compile
