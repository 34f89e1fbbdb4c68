#include "trainer/gating/gate_watch.h"

#include <set>

#include "ATen/core/grad_mode.h"

namespace ds {
namespace {

// Keeps a layer whose saliencies are all 0 from dividing by 0.
constexpr double kTiny = 1e-12;

}  // namespace

at::Tensor SaliencySpread(const at::Tensor& saliency) {
  const at::Tensor s = saliency.to(at::kFloat).flatten(1);
  return (s.mean(1) / (s.square().mean(1) + kTiny).sqrt()).mean();
}

GateWatch::GateWatch(GraphModule& module, const std::vector<ChannelGate>& gates)
    : state_(std::make_shared<State>()) {
  std::set<ValueId> saliencies;
  for (const ChannelGate& gate : gates) {
    saliencies.insert(gate.saliency);
    state_->channels += static_cast<double>(gate.channels);
  }
  const ValueId first = module.graph().inputs().front();
  // Autograd keeps a saliency for the penalty's backward pass, though observers must not keep what
  // they see: a gate's Relu is read by its Mul, which leaves it as it is, and autograd would
  // notice.
  module.set_value_observer(
      [state = state_, saliencies, first](ValueId id, const at::Tensor& value) {
        if (id == first) {
          state->penalty = at::Tensor();
          state->last = {};
        }
        if (!saliencies.contains(id)) return;
        const double zeros = value.detach().eq(0).sum().item<double>();
        const double all = static_cast<double>(value.numel());
        state->last.zeros += zeros;
        state->last.gates += all;
        state->total.zeros += zeros;
        state->total.gates += all;
        if (!at::GradMode::is_enabled()) return;
        const double share = static_cast<double>(value.size(1)) / state->channels;
        const at::Tensor spread = SaliencySpread(value) * share;
        state->penalty = state->penalty.defined() ? state->penalty + spread : spread;
      });
}

}  // namespace ds
