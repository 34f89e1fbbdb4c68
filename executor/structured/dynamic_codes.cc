#include "executor/structured/dynamic_codes.h"

namespace ds::executor {

DynamicCodes CodesOfOwnRange(const at::Tensor& x) {
  const at::Tensor zero = at::zeros({}, x.options());
  const at::Tensor low = x.numel() == 0 ? zero : at::minimum(x.min(), zero);
  const at::Tensor high = x.numel() == 0 ? zero : at::maximum(x.max(), zero);
  at::Tensor scale = at::div(at::sub(high, low), 255.0);
  scale = at::where(at::eq(scale, 0.0), at::ones_like(scale), scale);
  const at::Tensor zero_point = at::clamp(at::round(at::neg(at::div(low, scale))), 0, 255);
  const at::Tensor codes = at::add(at::round(at::div(x, scale)), zero_point);
  return {at::clamp(codes, 0, 255), scale, zero_point};
}

}  // namespace ds::executor
