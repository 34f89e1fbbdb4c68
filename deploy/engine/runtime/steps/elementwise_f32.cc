// Element by element and row by row on floats.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/activation.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/rows_step.h"
#include "deploy/engine/runtime/steps/spread.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

constexpr file::Type kFloat = file::Type::kFloat32;

}  // namespace

Status MakeBinaryF32(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::BinaryF32Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(2, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(kFloat, kFloat));
  if (parameters->operation > static_cast<uint32_t>(Binary::kMinimum)) {
    return binding.Error("is an operation that the format does not have");
  }
  Spreading how;
  DS_ENGINE_RETURN_IF_ERROR(MakeSpreading(binding, parameters->spread, how));
  BinaryF32Args args;
  args.kind = static_cast<Binary>(parameters->operation);
  DS_ENGINE_RETURN_IF_ERROR(MakeActivation(binding, parameters->activation, parameters->low,
                                           parameters->high, args.activate));
  BindRows(binding, how, args);
  step = std::make_unique<SpreadStep<BinaryF32Args>>(binding.kernels().binary_f32, args, how,
                                                     binding.input(1).row_bytes);
  return {};
}

Status MakeActivateF32(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ActivateParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(kFloat, kFloat));
  ActivateF32Args args;
  DS_ENGINE_RETURN_IF_ERROR(MakeActivation(binding, parameters->activation, parameters->low,
                                           parameters->high, args.activate));
  DS_ENGINE_RETURN_IF_ERROR(BindRow(binding, args));
  step = std::make_unique<RowsStep<ActivateF32Args>>(binding.kernels().activate_f32, args,
                                                     Rows(binding.input(0)));
  return {};
}

Status MakeSoftmaxF32(const Binding& binding, std::unique_ptr<Step>& step) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(kFloat, kFloat));
  SoftmaxArgs args;
  DS_ENGINE_RETURN_IF_ERROR(BindRow(binding, args));
  step = std::make_unique<RowsStep<SoftmaxArgs>>(binding.kernels().softmax_f32, args,
                                                 Rows(binding.input(0)));
  return {};
}

Status MakeLayerNormF32(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::LayerNormParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->has_scale));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->has_shift));
  const auto constants = static_cast<int>(parameters->has_scale + parameters->has_shift);
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, constants));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(kFloat, kFloat));
  LayerNormArgs args;
  DS_ENGINE_RETURN_IF_ERROR(BindRow(binding, args));
  const void *scale = nullptr, *shift = nullptr;
  const int64_t bytes = int64_t{args.columns} * 4;
  if (parameters->has_scale) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(0, bytes, scale));
  if (parameters->has_shift) {
    DS_ENGINE_RETURN_IF_ERROR(binding.Constant(constants - 1, bytes, shift));
  }
  args.scale = static_cast<const float*>(scale);
  args.shift = static_cast<const float*>(shift);
  args.epsilon = parameters->epsilon;
  step = std::make_unique<RowsStep<LayerNormArgs>>(binding.kernels().layer_norm_f32, args,
                                                   Rows(binding.input(0)));
  return {};
}

}  // namespace ds::engine
