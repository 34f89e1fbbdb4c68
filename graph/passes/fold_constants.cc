#include <algorithm>
#include <cmath>
#include <optional>

#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/schema/internal.h"
#include "graph/schema/known_ints.h"

namespace ds {

namespace {

// Larger constants cost more memory folded than time unfolded.
constexpr int64_t kMaxFloatElements = 4096;

std::optional<Tensor> FromInts(DType dtype, const Shape& shape, const std::vector<int64_t>& ints) {
  const bool known =
      std::all_of(ints.begin(), ints.end(), [](int64_t x) { return x >= kFirstKnownInt; });
  const auto count = schema::KnownProduct(shape);
  if (!known || count != static_cast<int64_t>(ints.size())) return std::nullopt;
  switch (dtype) {
    case DType::kInt64:
      return Tensor::From<int64_t>(shape, ints);
    case DType::kInt32:
      return Tensor::From<int32_t>(shape, std::vector<int32_t>(ints.begin(), ints.end()));
    case DType::kBool:
      return Tensor::From<bool>(shape, std::vector<bool>(ints.begin(), ints.end()));
    default:
      return std::nullopt;
  }
}

// A small float32 constant that training does not change.
const Tensor* FloatConstant(const Graph& graph, ValueId id) {
  auto it = id == kNoValue ? graph.initializers().end() : graph.initializers().find(id);
  if (it == graph.initializers().end() || it->second.trainable) return nullptr;
  const Tensor& tensor = it->second.data;
  const bool fits = tensor.dtype() == DType::kFloat32 && tensor.num_elements() <= kMaxFloatElements;
  return fits ? &tensor : nullptr;
}

using Unary = float (*)(float);
using Binary = float (*)(float, float);

Unary FindUnary(const std::string& op) {
  if (op == "Sqrt") return [](float x) { return std::sqrt(x); };
  if (op == "Reciprocal") return [](float x) { return 1.0f / x; };
  if (op == "Neg") return [](float x) { return -x; };
  if (op == "Identity") return [](float x) { return x; };
  return nullptr;
}

Binary FindBinary(const std::string& op) {
  if (op == "Add") return [](float a, float b) { return a + b; };
  if (op == "Sub") return [](float a, float b) { return a - b; };
  if (op == "Mul") return [](float a, float b) { return a * b; };
  if (op == "Div") return [](float a, float b) { return a / b; };
  return nullptr;
}

std::optional<Tensor> EvaluateFloats(const Graph& graph, const Node& node, const Shape& shape) {
  const Tensor* a = FloatConstant(graph, node.inputs.empty() ? kNoValue : node.inputs[0]);
  if (a == nullptr) return std::nullopt;
  Tensor out(DType::kFloat32, shape);
  auto result = out.mutable_span<float>();
  const auto x = a->span<float>();
  if (const Unary unary = FindUnary(node.op)) {
    for (size_t i = 0; i < result.size(); ++i) result[i] = unary(x[i]);
    return out;
  }
  const Binary binary = FindBinary(node.op);
  const Tensor* b = binary == nullptr ? nullptr : FloatConstant(graph, node.inputs[1]);
  if (b == nullptr) return std::nullopt;
  const auto y = b->span<float>();
  // Scalars against anything and equal shapes; other broadcasts are left to the executor.
  const bool simple =
      (x.size() == 1 || a->shape() == shape) && (y.size() == 1 || b->shape() == shape);
  if (!simple) return std::nullopt;
  for (size_t i = 0; i < result.size(); ++i) {
    result[i] = binary(x[x.size() == 1 ? 0 : i], y[y.size() == 1 ? 0 : i]);
  }
  return out;
}

std::optional<Tensor> CastInts(const Graph& graph, const Node& node, const KnownInts& known) {
  auto it = known.find(node.inputs[0]);
  const Value& out = graph.value(node.outputs[0]);
  if (it == known.end() || out.dtype != DType::kFloat32) return std::nullopt;
  const bool all = std::all_of(it->second.begin(), it->second.end(),
                               [](int64_t x) { return x >= kFirstKnownInt; });
  if (!all) return std::nullopt;
  return Tensor::From<float>(*out.shape, std::vector<float>(it->second.begin(), it->second.end()));
}

std::optional<Tensor> Fold(const Graph& graph, const Node& node, const KnownInts& known) {
  if (node.outputs.size() != 1) return std::nullopt;
  if (node.op == "Constant") return std::get<Tensor>(node.attributes.at("value"));
  const Value& out = graph.value(node.outputs[0]);
  auto it = known.find(node.outputs[0]);
  if (it != known.end()) return FromInts(out.dtype, *out.shape, it->second);
  if (node.op == "Cast") return CastInts(graph, node, known);
  if (out.dtype != DType::kFloat32 || !schema::KnownProduct(*out.shape)) return std::nullopt;
  if (*schema::KnownProduct(*out.shape) > kMaxFloatElements) return std::nullopt;
  return EvaluateFloats(graph, node, *out.shape);
}

}  // namespace

absl::Status FoldConstants(Graph& graph) {
  KnownInts known;
  DS_RETURN_IF_ERROR(InferShapesAndInts(graph, known));
  std::vector<Node> kept;
  for (Node& node : graph.mutable_nodes()) {
    std::optional<Tensor> folded = Fold(graph, node, known);
    if (!folded) {
      kept.push_back(std::move(node));
      continue;
    }
    graph.mutable_initializers()[node.outputs[0]] = {.data = *std::move(folded),
                                                     .trainable = false};
  }
  graph.mutable_nodes() = std::move(kept);
  return EliminateDeadNodes(graph);
}

}  // namespace ds
