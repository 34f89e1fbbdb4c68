#include "trainer/optim/gradient_norm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "trainer/optim/optimizer.h"

namespace ds {
namespace {

constexpr int64_t kChunk =
    16384;                 // elements: 64 KiB, a good part of L1 and L2, small enough to share out
constexpr int kLanes = 8;  // independent sums, so that additions do not wait for one another

double SumChunk(const float* values, int64_t count) {
  std::array<double, kLanes> sums = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const double value = values[i + lane];
      sums[lane] += value * value;
    }
  }
  for (int lane = 0; i < count; ++i, ++lane)
    sums[lane] += static_cast<double>(values[i]) * values[i];
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace

double SumOfSquares(const at::Tensor& tensor) {
  at::NoGradGuard no_grad;
  at::Tensor host = tensor.detach().to(at::kCPU, at::kFloat);
  if (!host.is_non_overlapping_and_dense()) host = host.contiguous();
  const float* values = host.const_data_ptr<float>();
  const int64_t count = host.numel(), chunks = (count + kChunk - 1) / kChunk;
  std::vector<double> sums(chunks);
  at::parallel_for(0, chunks, /*grain_size=*/4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      sums[c] = SumChunk(values + c * kChunk, std::min(kChunk, count - c * kChunk));
    }
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

double ClipGradNorm(const std::vector<NamedTensor>& parameters, double max_norm) {
  at::NoGradGuard no_grad;
  double total = 0;
  for (const NamedTensor& parameter : parameters) {
    const at::Tensor grad = parameter.tensor.grad();
    if (grad.defined()) total += SumOfSquares(grad);
  }
  const double norm = std::sqrt(total);
  // False for a NaN as well.
  if (!(max_norm > 0 && norm > max_norm && std::isfinite(norm))) return norm;
  for (const NamedTensor& parameter : parameters) {
    at::Tensor grad = parameter.tensor.grad();
    if (grad.defined()) grad.mul_(max_norm / norm);
  }
  return norm;
}

}  // namespace ds
