#include <algorithm>
#include <utility>
#include <variant>

#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

bool IsHalf(DType type) { return type == DType::kFloat16 || type == DType::kBFloat16; }

absl::Status Widen(Tensor& tensor) {
  if (!IsHalf(tensor.dtype())) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(tensor, tensor.ToFloat32());
  return absl::OkStatus();
}

// Tensors, and the types that Cast, EyeLike and their like are told.
absl::Status Widen(Node& node) {
  for (const char* key : {"to", "dtype"}) {
    const auto found = node.attributes.find(key);
    if (found == node.attributes.end() || !std::holds_alternative<int64_t>(found->second)) continue;
    const auto type = DTypeFromOnnxTypeNumber(std::get<int64_t>(found->second));
    if (type.ok() && IsHalf(*type)) found->second = OnnxTypeNumber(DType::kFloat32);
  }
  for (auto& [key, attribute] : node.attributes) {
    if (auto* tensor = std::get_if<Tensor>(&attribute)) DS_RETURN_IF_ERROR(Widen(*tensor));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WidenHalves(Graph& graph, std::vector<std::string>* notes) {
  const bool any = std::ranges::any_of(graph.values(), &IsHalf, &Value::dtype);
  if (!any) return absl::OkStatus();
  for (auto& [id, initializer] : graph.mutable_initializers())
    DS_RETURN_IF_ERROR(Widen(initializer.data));
  for (Node& node : graph.mutable_nodes()) DS_RETURN_IF_ERROR(Widen(node));
  for (size_t id = 0; id < graph.values().size(); ++id) {
    Value& value = graph.mutable_value(static_cast<ValueId>(id));
    if (IsHalf(value.dtype)) value.dtype = DType::kFloat32;
  }
  DS_RETURN_IF_ERROR(InferShapes(graph));
  DS_RETURN_IF_ERROR(Simplify(graph));
  if (notes != nullptr) {
    notes->push_back(
        "the file computes in half precision; what becomes of it here computes in float32, and has "
        "float32 inputs and outputs");
  }
  return absl::OkStatus();
}

}  // namespace ds
