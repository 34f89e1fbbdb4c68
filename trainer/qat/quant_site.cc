#include "trainer/qat/quant_site.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "quant/torch/lsq.h"

namespace ds {
namespace {

constexpr int kWideBits = 8;

}  // namespace

QuantType WeightType(int bits) {
  return {.bits = bits, .is_signed = true, .narrow = bits == kWideBits};
}

QuantType QuantSite::TypeWith(const QatBits& bits) const {
  const int wanted = is_weight ? bits.weights : bits.activations;
  const int width = std::max({wanted, at_end ? bits.end : wanted, added ? bits.sums : wanted});
  if (is_weight) return WeightType(width);
  return {.bits = width, .is_signed = type.is_signed, .narrow = false};
}

at::Tensor QuantSite::InitialSteps(const at::Tensor& otherwise) const {
  if (type.bits == kWideBits) return otherwise.clone();
  const at::Tensor steps = LsqInitialStep(master, axis, type);
  return at::where(steps > QatModule::kLeastStep, steps, otherwise).contiguous();
}

at::Tensor QuantSite::Rounded(const at::Tensor& tensor) const {
  const int64_t shared = is_weight ? tensor.numel() / step.numel()
                                   : tensor.numel() / std::max<int64_t>(1, tensor.size(0));
  return LsqFakeQuantize(tensor, step,
                         {.type = type,
                          .axis = axis,
                          .zero_point = zero(),
                          .gradient_scale = LsqGradientScale(shared, type)});
}

at::Tensor QuantSite::LiveChannels() const {
  const at::NoGradGuard no_grad;
  // Half a step is rounded to the even code, 0.
  return master.detach().abs().transpose(0, axis).flatten(1).amax(1) > step * 0.5;
}

void QuantSite::ChangeBits(const QatBits& bits) {
  const QuantType before = std::exchange(type, TypeWith(bits));
  if (before == type) return;
  const double ratio = static_cast<double>(type.max()) / before.max();
  if (is_weight) {
    step.copy_(InitialSteps(step / ratio));
    return;
  }
  step.div_(std::sqrt(ratio));
  int32_t& code = *zero_point.data_ptr<int32_t>();
  code = static_cast<int32_t>(std::lround(code * ratio));
}

at::Tensor RoundBias(const at::Tensor& bias, const at::Tensor& input_step,
                     const at::Tensor& weight_step, const at::Tensor& live) {
  const at::Tensor constant = bias.detach(), scale = weight_step.detach() * input_step.detach();
  const at::Tensor codes = at::round(constant.to(at::kDouble) / scale.to(at::kDouble));
  return at::where(live, codes.to(at::kFloat) * scale, constant) + (bias - constant);
}

}  // namespace ds
