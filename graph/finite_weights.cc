#include "graph/finite_weights.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <type_traits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/tensor/float16.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

constexpr size_t kFirstStatistic = 3;  // inputs of BatchNormalization: mean, variance

bool IsWeightSlot(const Node& node, size_t slot) {
  if (node.op == "BatchNormalization" && slot >= kFirstStatistic) return true;
  if (node.op == "QuantizeLinear" || node.op == "DequantizeLinear") return slot == 1;
  const OpSchema* schema = FindSchema(node.op);
  if (schema == nullptr) return false;
  const std::vector<int>& slots = schema->parameter_inputs;
  return std::find(slots.begin(), slots.end(), static_cast<int>(slot)) != slots.end();
}

std::set<ValueId> Weights(const Graph& graph) {
  std::set<ValueId> weights;
  for (const auto& [id, initializer] : graph.initializers()) {
    if (initializer.trainable) weights.insert(id);
  }
  for (const Node& node : graph.nodes()) {
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (graph.IsInitializer(node.inputs[slot]) && IsWeightSlot(node, slot))
        weights.insert(node.inputs[slot]);
    }
  }
  return weights;
}

template <typename T>
int64_t CountAs(const Tensor& tensor, bool (*wanted)(double)) {
  const T* values = reinterpret_cast<const T*>(tensor.data());
  return std::count_if(values, values + tensor.num_elements(), [wanted](const T& value) {
    if constexpr (std::is_same_v<T, double>) return wanted(value);
    return wanted(static_cast<float>(value));
  });
}

// Integers are never wanted.
int64_t Count(const Tensor& tensor, bool (*wanted)(double)) {
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return CountAs<float>(tensor, wanted);
    case DType::kFloat64:
      return CountAs<double>(tensor, wanted);
    case DType::kFloat16:
      return CountAs<Float16>(tensor, wanted);
    case DType::kBFloat16:
      return CountAs<BFloat16>(tensor, wanted);
    default:
      return 0;
  }
}

}  // namespace

absl::Status CheckFiniteWeights(const Graph& graph) {
  for (const ValueId id : Weights(graph)) {
    const Tensor& data = graph.initializers().at(id).data;
    const int64_t bad = Count(data, [](double value) { return !std::isfinite(value); });
    if (bad == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "weight '", graph.value(id).name, "' holds NaN or Inf in ", bad, " of its ",
        data.num_elements(),
        " values: the model is lost, as by training that diverged; take an earlier one"));
  }
  return absl::OkStatus();
}

bool HoldsInfinity(const Tensor& tensor) {
  return Count(tensor, [](double value) { return std::isinf(value); }) > 0;
}

}  // namespace ds
