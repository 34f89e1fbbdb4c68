#include "graph/finite_weights.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
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

// By their bits, which compilers turn into vector code: models have hundreds of megabytes.
template <typename Bits, Bits kExponent>
int64_t CountAs(const Tensor& tensor) {
  const Bits* values = reinterpret_cast<const Bits*>(tensor.data());
  int64_t count = 0;
  for (int64_t i = 0; i < tensor.num_elements(); ++i)
    count += (values[i] & kExponent) == kExponent ? 1 : 0;
  return count;
}

int64_t CountNonFinite(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::kFloat32:
      return CountAs<uint32_t, 0x7f800000U>(tensor);
    case DType::kFloat64:
      return CountAs<uint64_t, 0x7ff0000000000000U>(tensor);
    case DType::kFloat16:
      return CountAs<uint16_t, 0x7c00U>(tensor);
    case DType::kBFloat16:
      return CountAs<uint16_t, 0x7f80U>(tensor);
    default:
      return 0;
  }
}

}  // namespace

absl::Status CheckFiniteWeights(const Graph& graph) {
  for (const ValueId id : Weights(graph)) {
    const Tensor& data = graph.initializers().at(id).data;
    const int64_t bad = CountNonFinite(data);
    if (bad == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "weight '", graph.value(id).name, "' holds NaN or Inf in ", bad, " of its ",
        data.num_elements(),
        " values: the model is lost, as by training that diverged; take an earlier one"));
  }
  return absl::OkStatus();
}

bool AllFinite(const Tensor& tensor) { return CountNonFinite(tensor) == 0; }

}  // namespace ds
