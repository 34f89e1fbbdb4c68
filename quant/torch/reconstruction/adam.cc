#include "quant/torch/reconstruction/adam.h"

#include <cmath>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"

namespace ds {
namespace {

constexpr double kMeanDecay = 0.9, kSquareDecay = 0.999, kEpsilon = 1e-8;

}  // namespace

void Adam::Add(const at::Tensor& leaf, double rate) {
  states_.push_back({leaf, at::zeros_like(leaf), at::zeros_like(leaf), rate});
}

void Adam::Step() {
  const at::NoGradGuard no_grad;
  ++steps_;
  const double mean_share = 1 - std::pow(kMeanDecay, steps_),
               square_share = 1 - std::pow(kSquareDecay, steps_);
  for (State& state : states_) {
    const at::Tensor gradient = state.leaf.grad();
    if (!gradient.defined()) continue;
    state.mean.mul_(kMeanDecay).add_(gradient, 1 - kMeanDecay);
    state.square.mul_(kSquareDecay).addcmul_(gradient, gradient, 1 - kSquareDecay);
    const at::Tensor root = (state.square / square_share).sqrt_().add_(kEpsilon);
    state.leaf.addcdiv_(state.mean, root, -state.rate / mean_share);
    state.leaf.mutable_grad().reset();
  }
}

}  // namespace ds
