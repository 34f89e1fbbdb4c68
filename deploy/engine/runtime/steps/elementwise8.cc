// Element by element on codes.
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/rows_step.h"
#include "deploy/engine/runtime/steps/spread.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

Status Operands(const Binding& binding, uint32_t has_table, uint32_t spread, Spreading& how,
                const uint8_t*& table) {
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, has_table));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(2, 1, has_table ? 1 : 0));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  DS_ENGINE_RETURN_IF_ERROR(MakeSpreading(binding, spread, how));
  const void* data = nullptr;
  if (has_table) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(0, 256, data));
  table = static_cast<const uint8_t*>(data);
  return {};
}

}  // namespace

Status MakeAdd8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::Add8Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckSum(binding, parameters->sum));
  Spreading how;
  Add8Args args;
  args.add = SumOf(parameters->sum);
  DS_ENGINE_RETURN_IF_ERROR(
      Operands(binding, parameters->has_table, parameters->spread, how, args.add.table));
  BindRows(binding, how, args);
  step = std::make_unique<SpreadStep<Add8Args>>(binding.kernels().add8, args, how,
                                                binding.input(1).row_bytes);
  return {};
}

Status MakeMultiply8(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::Multiply8Parameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters->zero_a));
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters->zero_b));
  DS_ENGINE_RETURN_IF_ERROR(
      CheckCodes(binding, parameters->zero_point, parameters->low, parameters->high));
  Spreading how;
  Multiply8Args args;
  args.multiply = {parameters->ratio,      parameters->zero_a, parameters->zero_b,
                   parameters->zero_point, parameters->low,    parameters->high};
  DS_ENGINE_RETURN_IF_ERROR(
      Operands(binding, parameters->has_table, parameters->spread, how, args.multiply.table));
  BindRows(binding, how, args);
  step = std::make_unique<SpreadStep<Multiply8Args>>(binding.kernels().multiply8, args, how,
                                                     binding.input(1).row_bytes);
  return {};
}

Status MakeLookup8(const Binding& binding, std::unique_ptr<Step>& step) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 1));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(file::Type::kUint8, file::Type::kUint8));
  Lookup8Args args;
  DS_ENGINE_RETURN_IF_ERROR(BindRow(binding, args));
  const void* table = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(0, 256, table));
  args.table = static_cast<const uint8_t*>(table);
  step = std::make_unique<RowsStep<Lookup8Args>>(binding.kernels().lookup8, args,
                                                 Rows(binding.input(0)));
  return {};
}

}  // namespace ds::engine
