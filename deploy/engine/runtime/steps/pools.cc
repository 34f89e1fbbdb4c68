// Maxima and averages over windows.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/split.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

class PoolStep final : public Step {
 public:
  using Function = void (*)(const PoolArgs&, Range);
  PoolStep(Function function, const PoolArgs& args)
      : Step(int64_t{args.shape.batch} * args.shape.out_h, Macs(args.shape)),
        function_(function),
        args_(args) {}
  void Run(Range units, void*) const override { function_(args_, units); }

 private:
  const Function function_;
  const PoolArgs args_;
};

Status Prepare(const Binding& binding, const file::PoolF32Parameters& parameters, file::Type type,
               PoolArgs& args) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(type, type));
  DS_ENGINE_RETURN_IF_ERROR(
      MakeShape(binding, parameters.window, WindowUse::kChannels, args.shape));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters.count_padding));
  if (parameters.way > static_cast<uint32_t>(file::PoolWay::kAverage)) {
    return binding.Error("pools in a way that the format does not have");
  }
  args.kind = parameters.way == static_cast<uint32_t>(file::PoolWay::kMax) ? PoolKind::kMax
                                                                           : PoolKind::kAverage;
  args.count_padding = parameters.count_padding != 0;
  args.input = ImageOf<ImageIn>(binding.input(0), binding.Read(binding.input(0)));
  args.output = ImageOf<ImageOut>(binding.output(), binding.Write(binding.output()));
  return {};
}

}  // namespace

Status MakePool8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::Pool8Parameters* parameters = nullptr;
  PoolArgs args;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, parameters->pool, file::Type::kUint8, args));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters->zero_in));
  DS_ENGINE_RETURN_IF_ERROR(
      CheckCodes(binding, parameters->zero_out, parameters->low, parameters->high));
  args.scale_in = parameters->scale_in;
  args.scale_out = parameters->scale_out;
  args.zero_in = parameters->zero_in;
  args.zero_out = parameters->zero_out;
  args.low = parameters->low;
  args.high = parameters->high;
  step = std::make_unique<PoolStep>(binding.kernels().pool8, args);
  return {};
}

Status MakePoolF32(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::PoolF32Parameters* parameters = nullptr;
  PoolArgs args;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(Prepare(binding, *parameters, file::Type::kFloat32, args));
  step = std::make_unique<PoolStep>(binding.kernels().pool_f32, args);
  return {};
}

}  // namespace ds::engine
