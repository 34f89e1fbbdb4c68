// Convolutions and matrix products of floats.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/activation.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::ConvF32Parameters;

class ConvStep final : public Step {
 public:
  ConvStep(const Kernels& kernels, const ConvF32Args& args, const PixelsOrChannels& split)
      : Step(split.units(), Macs(args.shape), kernels.conv_scratch(args.shape)),
        function_(kernels.conv_f32),
        args_(args),
        split_(split) {}
  void Run(Range units, void* scratch) const override {
    split_.Run(units, [&](Range rows, Range columns) { function_(args_, rows, columns, scratch); });
  }

 private:
  void (*const function_)(const ConvF32Args&, Range, Range, void*);
  const ConvF32Args args_;
  const PixelsOrChannels split_;
};

class DepthwiseStep final : public Step {
 public:
  DepthwiseStep(const Kernels& kernels, const ConvF32Args& args)
      : Step(int64_t{args.shape.batch} * args.shape.out_h, Macs(args.shape)),
        function_(kernels.depthwise_f32),
        args_(args) {}
  void Run(Range units, void*) const override { function_(args_, units); }

 private:
  void (*const function_)(const ConvF32Args&, Range);
  const ConvF32Args args_;
};

Status Prepare(const Binding& binding, WindowUse use, ConvF32Args& args) {
  const ConvF32Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->has_residual));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(parameters->has_residual ? 2 : 1, 1, 2));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kFloat32, file::Type::kFloat32));
  DS_ENGINE_RETURN_IF_ERROR(MakeShape(binding, parameters->window, use, args.shape));
  DS_ENGINE_RETURN_IF_ERROR(MakeActivation(binding, parameters->activation, parameters->low,
                                           parameters->high, args.activate));
  const bool conv = use == WindowUse::kGroups;
  const std::span<const std::byte> weights = binding.ConstantBytes(0);
  if (!PackedFits(conv ? PackedKind::kConvF32 : PackedKind::kDepthwiseF32, binding.kernels().isa,
                  args.shape, weights.data(), static_cast<int64_t>(weights.size()))) {
    return binding.Error("has weights that are not packed for its shape");
  }
  const void* bias = nullptr;
  const int64_t padded = conv ? PaddedChannels(args.shape) : PaddedDepthwiseChannels(args.shape);
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(1, padded * 4, bias));
  args.weights = reinterpret_cast<const float*>(weights.data());
  args.bias = static_cast<const float*>(bias);
  args.input = ImageOf<ImageIn>(binding.input(0), binding.Read(binding.input(0)));
  args.output = ImageOf<ImageOut>(binding.output(), binding.Write(binding.output()));
  if (parameters->has_residual) {
    DS_ENGINE_RETURN_IF_ERROR(CheckResidual(binding, binding.input(1)));
    args.residual = ImageOf<ImageIn>(binding.input(1), binding.Read(binding.input(1)));
  }
  return {};
}

}  // namespace

Status MakeConvF32(const Binding& binding, std::unique_ptr<Step>& step) {
  ConvF32Args args;
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, WindowUse::kGroups, args));
  step = std::make_unique<ConvStep>(binding.kernels(), args, PixelsOrChannels(args.shape));
  return {};
}

Status MakeDepthwiseF32(const Binding& binding, std::unique_ptr<Step>& step) {
  ConvF32Args args;
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, WindowUse::kChannels, args));
  step = std::make_unique<DepthwiseStep>(binding.kernels(), args);
  return {};
}

}  // namespace ds::engine
