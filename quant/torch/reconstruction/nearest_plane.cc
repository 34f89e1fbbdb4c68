#include "quant/torch/reconstruction/nearest_plane.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "ATen/Functions.h"

namespace ds {
namespace {

constexpr int64_t kBlock = 128;  // columns rounded one after another before the others are told

// Columns [begin, end) of all rows, the last first. `wanted`: steps and what the errors of the
// columns from `end` on ask for, [rows, end - begin].
void RoundBlock(const at::Tensor& steps, const at::Tensor& factor, const at::Tensor& wanted,
                int64_t begin, int64_t end, float low, float high, at::Tensor& errors) {
  const int64_t rows = steps.size(0), n = steps.size(1);
  const float* const all_steps = steps.const_data_ptr<float>();
  const float* const coupling = factor.const_data_ptr<float>();
  const float* const all_wanted = wanted.const_data_ptr<float>();
  float* const all_errors = errors.mutable_data_ptr<float>();
  for (int64_t row = 0; row < rows; ++row) {
    float* const error = all_errors + row * n;
    for (int64_t i = end - 1; i >= begin; --i) {
      const float step = all_steps[row * n + i];
      if (step == 0) continue;  // pruned: no error
      float sum = all_wanted[row * (end - begin) + i - begin];
      for (int64_t j = i + 1; j < end; ++j) sum += coupling[i * n + j] * error[j];
      error[i] = step - std::clamp(std::nearbyint(sum), low, high);
    }
  }
}

}  // namespace

at::Tensor NearestPlane(const at::Tensor& steps, const at::Tensor& covariance, float low,
                        float high) {
  const int64_t n = steps.size(1);
  // What varies most is rounded first, when the most others can still make up for it.
  const at::Tensor order = covariance.diagonal().argsort();
  const auto [upper, info] = at::linalg_cholesky_ex(
      covariance.index_select(0, order).index_select(1, order), /*upper=*/true);
  if (info.item<int>() != 0) return steps.round().clamp(low, high);
  const at::Tensor factor = (upper / upper.diagonal().unsqueeze(1)).contiguous();
  const at::Tensor sorted = steps.index_select(1, order).contiguous();
  at::Tensor errors = at::zeros_like(sorted);
  for (int64_t end = n; end > 0; end = std::max<int64_t>(0, end - kBlock)) {
    const int64_t begin = std::max<int64_t>(0, end - kBlock);
    at::Tensor wanted = sorted.narrow(1, begin, end - begin).contiguous();
    if (end < n) {
      const at::Tensor coupling = factor.narrow(0, begin, end - begin).narrow(1, end, n - end);
      wanted = wanted + errors.narrow(1, end, n - end).matmul(coupling.t());
    }
    RoundBlock(sorted, factor, wanted.contiguous(), begin, end, low, high, errors);
  }
  at::Tensor codes = at::empty_like(sorted);
  codes.index_copy_(1, order, (sorted - errors).round());
  return codes;
}

}  // namespace ds
