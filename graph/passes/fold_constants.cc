#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include "base/status.h"
#include "graph/passes/derived.h"
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
bool IsSmallConstant(const Graph& graph, ValueId id) {
  auto it = id == kNoValue ? graph.initializers().end() : graph.initializers().find(id);
  if (it == graph.initializers().end() || it->second.trainable) return false;
  const Tensor& tensor = it->second.data;
  return tensor.dtype() == DType::kFloat32 && tensor.num_elements() <= kMaxFloatElements;
}

// Arithmetic of scalars and short vectors, as exporters write scales and epsilons; what layers'
// weights are made with is FoldWeights' business.
std::optional<Tensor> FoldArithmetic(const Graph& graph, const Node& node) {
  static constexpr const char* kArithmetic[] = {"Add",        "Sub", "Mul",      "Div",  "Sqrt",
                                                "Reciprocal", "Neg", "Identity", "Cast", "Expand"};
  if (std::find(std::begin(kArithmetic), std::end(kArithmetic), node.op) == std::end(kArithmetic))
    return std::nullopt;
  // Of Expand the second input is a shape.
  const auto end = node.op == "Expand" ? node.inputs.begin() + 1 : node.inputs.end();
  const bool constant = std::all_of(node.inputs.begin(), end,
                                    [&graph](ValueId id) { return IsSmallConstant(graph, id); });
  return constant ? ComputeFloats(graph, node) : std::nullopt;
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

// A number that is known before the graph runs: of an integer, or a constant that does not train.
std::optional<double> KnownNumber(const Graph& graph, ValueId id, const KnownInts& known) {
  if (const auto it = known.find(id); it != known.end()) {
    if (it->second.size() != 1 || it->second[0] < kFirstKnownInt) return std::nullopt;
    return static_cast<double>(it->second[0]);
  }
  const auto it = graph.initializers().find(id);
  if (it == graph.initializers().end() || it->second.trainable) return std::nullopt;
  const Tensor& tensor = it->second.data;
  if (tensor.dtype() != DType::kFloat32 || tensor.num_elements() != 1) return std::nullopt;
  return tensor.span<float>()[0];
}

// Positions in a picture or a text whose extents are known: start + i * step.
std::optional<Tensor> FoldRange(const Graph& graph, const Node& node, const KnownInts& known) {
  constexpr double kMostElements = 65536;
  constexpr double kMostLimit = 0x1p40;  // exact in double, and so is what is added up to it
  double limits[3];
  for (size_t i = 0; i < 3; ++i) {
    const auto number = KnownNumber(graph, node.inputs[i], known);
    if (!number || !(std::abs(*number) <= kMostLimit)) return std::nullopt;
    limits[i] = *number;
  }
  const auto [start, end, step] = limits;
  const double count = step == 0 ? -1 : std::max(0.0, std::ceil((end - start) / step));
  if (count < 0 || count > kMostElements) return std::nullopt;
  const auto filled = [&, start = start, step = step]<typename T>(T) {
    std::vector<T> elements(static_cast<size_t>(count));
    for (size_t i = 0; i < elements.size(); ++i)
      elements[i] = static_cast<T>(start + static_cast<double>(i) * step);
    return Tensor::From<T>({static_cast<int64_t>(count)}, elements);
  };
  switch (graph.value(node.outputs[0]).dtype) {
    case DType::kInt64:
      return filled(int64_t{});
    case DType::kInt32:
      return filled(int32_t{});
    case DType::kFloat32:
      return filled(float{});
    default:
      return std::nullopt;
  }
}

std::optional<Tensor> Fold(const Graph& graph, const Node& node, const KnownInts& known) {
  if (node.outputs.size() != 1) return std::nullopt;
  if (node.op == "Constant") return std::get<Tensor>(node.attributes.at("value"));
  const Value& out = graph.value(node.outputs[0]);
  auto it = known.find(node.outputs[0]);
  if (it != known.end()) return FromInts(out.dtype, *out.shape, it->second);
  if (node.op == "Range") return FoldRange(graph, node, known);
  if (std::optional<Tensor> floats = ComputeShapeFloats(graph, node)) return floats;
  if (node.op == "Cast" && !IsSmallConstant(graph, node.inputs[0]))
    return CastInts(graph, node, known);
  if (out.dtype != DType::kFloat32 || !schema::KnownProduct(*out.shape)) return std::nullopt;
  if (*schema::KnownProduct(*out.shape) > kMaxFloatElements) return std::nullopt;
  return FoldArithmetic(graph, node);
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
    graph.mutable_value(node.outputs[0]).shape = folded->shape();  // of a Range: known only now
    graph.mutable_initializers()[node.outputs[0]] = {.data = *std::move(folded),
                                                     .trainable = false};
  }
  graph.mutable_nodes() = std::move(kept);
  return EliminateDeadNodes(graph);
}

}  // namespace ds
