#include "deploy/engine/runtime/steps/fused/bind_conv.h"

#include <string>

#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {

Status BindWeights(const Binding& binding, PackedKind kind, int number, const ConvShape& shape,
                   const void*& weights) {
  const std::span<const std::byte> bytes = binding.ConstantBytes(number);
  if (!PackedFits(kind, binding.kernels().isa, shape, bytes.data(),
                  static_cast<int64_t>(bytes.size()))) {
    return binding.Error("has weights that are not packed for its shape and '" +
                         std::string(binding.kernels().name) + "'");
  }
  weights = bytes.data();
  return {};
}

Status BindRequantise(const Binding& binding, const file::Conv8Parameters& parameters, int first,
                      int64_t padded, Requantise& how) {
  DS_ENGINE_RETURN_IF_ERROR(CheckZero(binding, parameters.input_zero));
  DS_ENGINE_RETURN_IF_ERROR(
      CheckCodes(binding, parameters.zero_point, parameters.low, parameters.high));
  const void *bias = nullptr, *multiplier = nullptr, *table = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(first, padded * 4, bias));
  DS_ENGINE_RETURN_IF_ERROR(binding.Constant(first + 1, padded * 4, multiplier));
  if (parameters.has_table) DS_ENGINE_RETURN_IF_ERROR(binding.Constant(first + 2, 256, table));
  how.bias = static_cast<const int32_t*>(bias);
  how.multiplier = static_cast<const float*>(multiplier);
  how.table = static_cast<const uint8_t*>(table);
  how.zero_point = parameters.zero_point;
  how.low = parameters.low;
  how.high = parameters.high;
  return {};
}

Status BindResidual(const Binding& binding, const file::Conv8Parameters& parameters,
                    Requantise& how) {
  DS_ENGINE_RETURN_IF_ERROR(CheckSum(binding, parameters.sum));
  DS_ENGINE_RETURN_IF_ERROR(CheckResidual(binding, binding.input(1)));
  how.residual = ImageOf<ImageIn>(binding.input(1), binding.Read(binding.input(1)));
  return {};
}

}  // namespace ds::engine
