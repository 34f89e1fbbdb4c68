// Convolutions and matrix products of codes.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/conv_step.h"
#include "deploy/engine/runtime/steps/fused/bind_conv.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::Conv8Parameters;

class DepthwiseStep final : public Step {
 public:
  DepthwiseStep(const Kernels& kernels, const Depthwise8Args& args, const Add8& sum, bool has_sum)
      : Step(int64_t{args.shape.batch} * args.shape.out_h, Macs(args.shape),
             kernels.depthwise_scratch(args.shape)),
        function_(kernels.depthwise8),
        args_(args),
        sum_(sum) {
    if (has_sum) args_.requantise.add = &sum_;
  }
  void Run(Range units, void* scratch) const override { function_(args_, units, scratch); }

 private:
  void (*const function_)(const Depthwise8Args&, Range, void*);
  Depthwise8Args args_;
  const Add8 sum_;
};

// What both kinds are told.
Status Common(const Binding& binding, const Conv8Parameters& parameters, int64_t padded,
              Requantise& how) {
  DS_ENGINE_RETURN_IF_ERROR(BindRequantise(binding, parameters, 1, padded, how));
  return parameters.has_sum ? BindResidual(binding, parameters, how) : Status();
}

Status Prepare(const Binding& binding, const Conv8Parameters*& parameters, WindowUse use,
               ConvShape& shape) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->has_table));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->has_sum));
  DS_ENGINE_RETURN_IF_ERROR(
      binding.Counts(parameters->has_sum ? 2 : 1, 1, parameters->has_table ? 4 : 3));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  return MakeShape(binding, parameters->window, use, shape);
}

template <typename Args>
void Images(const Binding& binding, Args& args) {
  args.input = ImageOf<ImageIn>(binding.input(0), binding.Read(binding.input(0)));
  args.output = ImageOf<ImageOut>(binding.output(), binding.Write(binding.output()));
}

Status MakeConv(const Binding& binding, PackedKind kind, ConvStep::Function function,
                std::unique_ptr<Step>& step) {
  const Conv8Parameters* parameters = nullptr;
  Conv8Args args;
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, parameters, WindowUse::kGroups, args.shape));
  DS_ENGINE_RETURN_IF_ERROR(BindWeights(binding, kind, 0, args.shape, args.weights));
  DS_ENGINE_RETURN_IF_ERROR(
      Common(binding, *parameters, PaddedChannels(args.shape), args.requantise));
  Images(binding, args);
  args.pad_value = static_cast<uint8_t>(parameters->input_zero);
  step =
      std::make_unique<ConvStep>(function, args, SumOf(parameters->sum), parameters->has_sum != 0,
                                 binding.kernels().conv_scratch(args.shape));
  return {};
}

}  // namespace

Status MakeConv8(const Binding& binding, std::unique_ptr<Step>& step) {
  return MakeConv(binding, PackedKind::kConv8, binding.kernels().conv8, step);
}
Status MakeConv4(const Binding& binding, std::unique_ptr<Step>& step) {
  return MakeConv(binding, PackedKind::kConv4, binding.kernels().conv4, step);
}

Status MakeDepthwise8(const Binding& binding, std::unique_ptr<Step>& step) {
  const Conv8Parameters* parameters = nullptr;
  Depthwise8Args args;
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, parameters, WindowUse::kChannels, args.shape));
  DS_ENGINE_RETURN_IF_ERROR(
      BindWeights(binding, PackedKind::kDepthwise8, 0, args.shape, args.weights));
  DS_ENGINE_RETURN_IF_ERROR(
      Common(binding, *parameters, PaddedDepthwiseChannels(args.shape), args.requantise));
  Images(binding, args);
  args.pad_value = static_cast<uint8_t>(parameters->input_zero);
  step = std::make_unique<DepthwiseStep>(binding.kernels(), args, SumOf(parameters->sum),
                                         parameters->has_sum != 0);
  return {};
}

}  // namespace ds::engine
