#include "quant/torch/reconstruction/adam.h"

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"

namespace ds {
namespace {

constexpr double kMeanDecay = 0.9, kSquareDecay = 0.999, kEpsilon = 1e-8;

}  // namespace

void Adam::Add(const at::Tensor& leaf, double rate) {
  if (!steps_.defined()) steps_ = at::zeros({}, at::kFloat);
  states_.push_back({leaf, at::zeros_like(leaf), at::zeros_like(leaf), rate});
}

void Adam::Step() {
  const at::NoGradGuard no_grad;
  steps_ += 1;
  for (State& state : states_) {
    const at::Tensor gradient = state.leaf.grad();
    if (!gradient.defined()) continue;
    at::_fused_adam_(state.leaf, gradient, state.mean, state.square, /*max_exp_avg_sqs=*/{}, steps_,
                     state.rate, kMeanDecay, kSquareDecay, /*weight_decay=*/0.0, kEpsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
    state.leaf.mutable_grad().reset();
  }
}

}  // namespace ds
