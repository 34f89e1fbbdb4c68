#include <algorithm>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
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
         step.kind != OperatorKind::kMatMulF32 && step.kind != OperatorKind::kGather;
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

// Why the result cannot be what its parts are written into; empty where it can.
std::string WhyCopied(const Program& program, const Step& join) {
  const ProgramTensor& whole = program.tensors[join.outputs[0]];
  const int64_t rows = Elements(whole.dims) / (whole.dims.empty() ? 1 : whole.dims.back());
  const auto outer = std::get<file::ConcatParameters>(join.parameters).outer;
  if (whole.dims.empty() || outer != rows) return "it joins along another axis than the densest";
  if (whole.place != file::Place::kArena) return "its result is an output of the model";
  if (whole.view_of >= 0 && whole.first < 0) return "its result is another tensor under other dims";
  return "";
}

// Why the part cannot be written where it belongs; empty where it can.
std::string WhyApart(const Program& program, const Step& join, int part) {
  const ProgramTensor& tensor = program.tensors[part];
  const std::string name = TensorTold(program, part);
  if (tensor.place != file::Place::kArena)
    return absl::StrCat(name, " is no result of an operator alone");
  if (tensor.view_of >= 0 || tensor.dims.size() != program.tensors[join.outputs[0]].dims.size())
    return absl::StrCat(name, " is a part of another tensor, or one under other dims");
  if (std::count(join.inputs.begin(), join.inputs.end(), part) != 1)
    return absl::StrCat(name, " is joined more than once");
  for (const ProgramTensor& other : program.tensors) {
    if (other.view_of == part && other.first < 0)
      return absl::StrCat(name, " is read under other dims, too");
  }
  for (const Step& step : program.steps) {
    if (&step == &join) continue;
    const auto dense = [&](const std::vector<int>& ids, bool writes) {
      return std::any_of(ids.begin(), ids.end(), [&](int id) {
        return RootOf(program, id) == part && MustBeDense(step, id, writes);
      });
    };
    if (dense(step.inputs, false) || dense(step.outputs, true))
      return absl::StrCat(Told(step), " needs ", name, " in one piece");
  }
  return "";
}

}  // namespace

void JoinWithoutCopies(Program& program) {
  for (size_t i = program.steps.size(); i-- > 0;) {
    Step& join = program.steps[i];
    if (join.kind != OperatorKind::kConcat) continue;
    join.stays = WhyCopied(program, join);
    // All or none: a concatenation copies all that it joins.
    for (size_t k = 0; k < join.inputs.size() && join.stays.empty(); ++k)
      join.stays = WhyApart(program, join, join.inputs[k]);
    if (!join.stays.empty()) continue;
    // A reshape of the result stays a reshape; of a slice there is none.
    const int output = join.outputs[0];
    const ProgramTensor& whole = program.tensors[output];
    const int base = whole.view_of < 0 ? output : whole.view_of;
    int64_t first = whole.view_of < 0 ? 0 : whole.first;
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
