// A kernel that takes rows of one operand.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

template <typename Args>
class RowsStep final : public Step {
 public:
  using Function = void (*)(const Args&, Range);
  RowsStep(Function function, const Args& args, int64_t rows)
      : Step(rows, rows * args.columns), function_(function), args_(args) {}
  void Run(Range units, void*) const override { function_(args_, units); }

 private:
  const Function function_;
  const Args args_;
};

// Input and output of the same dims.
template <typename Args>
Status BindRow(const Binding& binding, Args& args) {
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (!SameDims(in, out)) return binding.Error("has an input of other dims than its output's");
  args.input = {binding.Read(in), in.row_bytes};
  args.output = {binding.Write(out), out.row_bytes};
  args.columns = Columns(in);
  return {};
}

}  // namespace ds::engine
