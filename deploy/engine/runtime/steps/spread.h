// How the second operand of an element-wise operator covers the first (file::Spread), for all
// kernels that take rows of two operands.
#pragma once

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

struct Spreading {
  int32_t rows = 0, columns = 0;
  int32_t rows_per_image = 0;  // rows that share one of b's; b repeats where it is not `rows`
  bool images = false;
};

inline Status MakeSpreading(const Binding& binding, uint32_t spread, Spreading& how) {
  const file::Tensor &a = binding.input(0), &b = binding.input(1);
  if (!SameDims(a, binding.output())) {
    return binding.Error("has a first input of other dims than its output's");
  }
  how = {Rows(a), Columns(a), Rows(a), false};
  bool fits = false;
  switch (static_cast<file::Spread>(spread)) {
    case file::Spread::kSame:
      fits = SameDims(a, b);
      break;
    case file::Spread::kRow:
      fits = Elements(b) == how.columns && Rows(b) == 1;
      break;
    case file::Spread::kImageRow:
      fits = a.rank >= 2 && Columns(b) == how.columns && Rows(b) == static_cast<int32_t>(a.dims[0]);
      how.images = true;
      how.rows_per_image = fits ? how.rows / Rows(b) : 1;
      break;
  }
  return fits ? Status() : binding.Error("has a second input that does not cover its first");
}

// The three row operands; b's stride is 0 where one row serves all.
template <typename Args>
void BindRows(const Binding& binding, const Spreading& how, Args& args) {
  const file::Tensor &a = binding.input(0), &b = binding.input(1), &out = binding.output();
  args.a = {binding.Read(a), a.row_bytes};
  args.b = {binding.Read(b), Rows(b) == how.rows && !how.images ? b.row_bytes : 0};
  args.output = {binding.Write(out), out.row_bytes};
  args.columns = how.columns;
}

template <typename Args>
class SpreadStep final : public Step {
 public:
  using Function = void (*)(const Args&, Range);
  SpreadStep(Function function, const Args& args, const Spreading& how, int64_t image_stride)
      : Step(how.rows, int64_t{how.rows} * how.columns),
        function_(function),
        args_(args),
        how_(how),
        image_stride_(image_stride) {}

  void Run(Range units, void*) const override {
    if (!how_.images) return function_(args_, units);
    for (int32_t row = units.begin; row < units.end;) {
      const int32_t image = row / how_.rows_per_image;
      const int32_t end = std::min(units.end, (image + 1) * how_.rows_per_image);
      Args args = args_;
      args.b.data = static_cast<const char*>(args.b.data) + image * image_stride_;
      function_(args, {row, end});
      row = end;
    }
  }

 private:
  const Function function_;
  const Args args_;
  const Spreading how_;
  const int64_t image_stride_;  // of b
};

}  // namespace ds::engine
