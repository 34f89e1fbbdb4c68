#include "quant/torch/reconstruction/shrunk_covariance.h"

#include "ATen/Functions.h"

namespace ds {
namespace {

// So much of the identity there is at least: a factor in fp32 needs it.
constexpr double kLeast = 0.01;

}  // namespace

at::Tensor ShrunkCovariance(const at::Tensor& columns) {
  const int64_t samples = columns.size(0), groups = columns.size(1), rows = columns.size(2);
  const at::Tensor mean = columns.mean(3).mean(0).unsqueeze(2);  // [groups, rows, 1]
  at::Tensor covariance = at::zeros({groups, rows, rows});
  at::Tensor squares = at::zeros({groups}, at::kDouble);  // of the samples' own covariances
  const auto power = [](const at::Tensor& matrices) {
    return matrices.square().sum({1, 2}, false, at::kDouble);
  };
  for (int64_t k = 0; k < samples; ++k) {
    const at::Tensor centred = columns[k] - mean;
    const at::Tensor own =
        at::bmm(centred, centred.transpose(1, 2)) / static_cast<double>(columns.size(3));
    covariance += own;
    squares += power(own);
  }
  covariance /= static_cast<double>(samples);
  const at::Tensor scale =
      covariance.diagonal(0, 1, 2).mean(1, false, at::kDouble);  // of the identity
  const at::Tensor chance =
      (squares / static_cast<double>(samples) - power(covariance)) / static_cast<double>(samples);
  const at::Tensor distance = power(covariance) - static_cast<double>(rows) * scale.square();
  at::Tensor share = at::where(distance.gt(0), chance / distance, at::ones_like(distance));
  share = samples > 1 ? share.clamp(kLeast, 1.0) : at::ones_like(share);
  const at::Tensor identity = at::where(scale.gt(0), share * scale, at::ones_like(scale));
  covariance.mul_((1 - share).to(at::kFloat).reshape({groups, 1, 1}));
  covariance.diagonal(0, 1, 2).add_(identity.to(at::kFloat).unsqueeze(1));
  return covariance;
}

}  // namespace ds
