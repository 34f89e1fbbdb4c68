#include "federated/training/drift_control.h"

#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/check.h"

namespace ds::federated {

Objective ProximalObjective(const GraphModule& module, double mu) {
  std::vector<at::Tensor> now, start;
  for (const NamedTensor& parameter : module.parameters()) {
    now.push_back(parameter.tensor);
    start.push_back(parameter.tensor.detach().clone());
  }
  return [now, start, mu](const std::vector<at::Tensor>&, const at::Tensor&,
                          const at::Tensor& loss) -> absl::StatusOr<at::Tensor> {
    at::Tensor sum = loss;
    for (size_t i = 0; i < now.size(); ++i)
      sum = sum + (now[i] - start[i]).square().sum() * (mu / 2);
    return sum;
  };
}

Objective ControlledObjective(const GraphModule& module, const ModelLayout& layout,
                              absl::Span<const float> control,
                              absl::Span<const float> own_control) {
  absl::flat_hash_map<std::string, int64_t> offsets;
  int64_t offset = 0;
  for (const ModelSlot& slot : layout.slots) {
    offsets[slot.name] = offset;
    offset += slot.count;
  }
  std::vector<std::pair<at::Tensor, at::Tensor>> terms;  // a parameter and c - c_i
  for (const NamedTensor& parameter : module.parameters()) {
    const auto found = offsets.find(parameter.name);
    DS_CHECK(found != offsets.end()) << parameter.name;
    const auto begin = static_cast<size_t>(found->second);
    at::Tensor pull = at::empty(parameter.tensor.sizes(), at::kFloat);
    float* const values = pull.data_ptr<float>();
    for (int64_t k = 0; k < pull.numel(); ++k) {
      const size_t at = begin + static_cast<size_t>(k);
      values[k] = control[at] - own_control[at];
    }
    terms.emplace_back(parameter.tensor, pull);
  }
  return [terms](const std::vector<at::Tensor>&, const at::Tensor&,
                 const at::Tensor& loss) -> absl::StatusOr<at::Tensor> {
    at::Tensor sum = loss;
    for (const auto& [weight, pull] : terms) sum = sum + (weight * pull).sum();
    return sum;
  };
}

void StepDistance::Add(double learning_rate, double factor) {
  velocity_ = options_.momentum * velocity_ + factor;
  total_ +=
      learning_rate * (options_.nesterov ? factor + options_.momentum * velocity_ : velocity_);
}

void ControlChange(const ModelLayout& layout, absl::Span<const float> delta,
                   absl::Span<const float> control, double distance, absl::Span<float> change) {
  size_t i = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (int64_t k = 0; k < slot.count; ++k, ++i) {
      change[i] = slot.kind == SlotKind::kParameter
                      ? static_cast<float>(-delta[i] / distance - control[i])
                      : 0.0f;
    }
  }
}

}  // namespace ds::federated
