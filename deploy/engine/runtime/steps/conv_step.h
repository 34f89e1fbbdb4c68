// A convolution of codes as a step: rows of pixels, or blocks of channels where there are few of
// them (PixelsOrChannels).
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

class ConvStep final : public Step {
 public:
  using Function = void (*)(const Conv8Args&, Range, Range, void*);
  ConvStep(Function function, const Conv8Args& args, const Add8& sum, bool has_sum, int64_t scratch)
      : Step(PixelsOrChannels(args.shape).units(), Macs(args.shape), scratch),
        function_(function),
        args_(args),
        sum_(sum),
        split_(args.shape) {
    if (has_sum) args_.requantise.add = &sum_;
  }
  void Run(Range units, void* scratch) const override {
    split_.Run(units, [&](Range rows, Range columns) { function_(args_, rows, columns, scratch); });
  }
  // All rows of these channels; a range as kernels take it.
  void RunChannels(Range channels, void* scratch) const {
    function_(args_, {0, args_.shape.Pixels()}, channels, scratch);
  }

 private:
  const Function function_;
  Conv8Args args_;
  const Add8 sum_;
  const PixelsOrChannels split_;
};

}  // namespace ds::engine
