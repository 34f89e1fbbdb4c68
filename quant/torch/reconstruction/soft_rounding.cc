#include "quant/torch/reconstruction/soft_rounding.h"

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "executor/graph_module.h"

namespace ds {
namespace {

constexpr double kLow = -0.1, kHigh = 1.1;  // where the sigmoid reaches to before it is cut

// The scales, one an element (or one for all).
at::Tensor ScaleOfEach(const Tensor& weight, const QuantParams& params) {
  const Shape shape = ScaleShape(params, weight.shape());
  const at::Tensor scales = at::tensor(at::ArrayRef<float>(params.scales), at::kFloat);
  if (params.axis == QuantParams::kWholeTensor) return scales.reshape({});
  if (params.group > 0) {
    return scales.reshape(shape)
        .repeat_interleave(params.group, params.axis)
        .narrow(params.axis, 0, weight.dim(params.axis))
        .contiguous();
  }
  Shape along(static_cast<size_t>(weight.rank()), 1);
  along[static_cast<size_t>(params.axis)] = weight.dim(params.axis);
  return scales.reshape(along);
}

}  // namespace

at::Tensor RectifiedSigmoid(const at::Tensor& v) {
  return (v.sigmoid() * (kHigh - kLow) + kLow).clamp(0, 1);
}

at::Tensor RoundingRegulariser(const at::Tensor& h, double beta) {
  return 1 - (2 * h - 1).abs().pow(beta);
}

absl::StatusOr<SoftRounding> SoftRounding::Create(const Tensor& weight, const QuantParams& params) {
  DS_RETURN_IF_ERROR(CheckParams(params, weight.shape()));
  const at::NoGradGuard no_grad;
  SoftRounding rounding;
  rounding.type_ = params.type;
  rounding.scale_ = ScaleOfEach(weight, params);
  const at::Tensor steps = ToTorch(weight) / rounding.scale_;
  rounding.floor_ = steps.floor();
  const at::Tensor share = steps - rounding.floor_;
  rounding.free_ = steps.ne(0).to(at::kFloat);
  rounding.nearest_up_ =
      (steps.round() - rounding.floor_).clamp(0, 1);  // ties to even, as everywhere
  rounding.variable_ = -((kHigh - kLow) / (share - kLow) - 1).log();
  rounding.variable_.set_requires_grad(true);
  return rounding;
}

at::Tensor SoftRounding::Codes(const at::Tensor& up) const {
  return (floor_ + up * free_).clamp(type_.min(), type_.max());
}

at::Tensor SoftRounding::Soft() const { return Codes(RectifiedSigmoid(variable_)) * scale_; }

at::Tensor SoftRounding::Regulariser(double beta) const {
  return RoundingRegulariser(RectifiedSigmoid(variable_), beta).sum();
}

at::Tensor SoftRounding::Hard() const {
  const at::NoGradGuard no_grad;
  return Codes(RectifiedSigmoid(variable_).ge(0.5).to(at::kFloat)) * scale_;
}

at::Tensor SoftRounding::Nearest() const {
  const at::NoGradGuard no_grad;
  return Codes(nearest_up_) * scale_;
}

int64_t SoftRounding::Flipped() const {
  const at::NoGradGuard no_grad;
  return Hard().ne(Nearest()).sum().item<int64_t>();
}

}  // namespace ds
