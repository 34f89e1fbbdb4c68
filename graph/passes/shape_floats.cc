// Floats on the way to a shape.
#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "graph/passes/derived.h"
#include "graph/schema/internal.h"

namespace ds {
namespace {

using Floats = std::vector<float>;

// More than any shape or list of pads has.
constexpr int64_t kMostElements = 256;
// Floats beyond are no extents, and their integers not exact.
constexpr float kMostExtent = 0x1p31F;

std::optional<Floats> Read(const Graph& graph, ValueId id) {
  auto it = id == kNoValue ? graph.initializers().end() : graph.initializers().find(id);
  if (it == graph.initializers().end() || it->second.trainable) return std::nullopt;
  const Tensor& tensor = it->second.data;
  if (tensor.dtype() != DType::kFloat32 || tensor.num_elements() > kMostElements)
    return std::nullopt;
  return Floats(tensor.span<float>().begin(), tensor.span<float>().end());
}

std::optional<Floats> Mapped(Floats x, const std::function<float(float)>& function) {
  for (float& value : x) value = function(value);
  return x;
}

// Max, Min and Clip: each operand is of as many elements, or one. A missing bound bounds nothing.
std::optional<Floats> Bounded(const Graph& graph, const Node& node, Floats x) {
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    const auto bound = Read(graph, node.inputs[i]);
    if (!bound || (bound->size() != x.size() && bound->size() != 1)) return std::nullopt;
    const bool least = node.op == "Max" || (node.op == "Clip" && i == 1);
    for (size_t k = 0; k < x.size(); ++k) {
      const float other = (*bound)[bound->size() == 1 ? 0 : k];
      x[k] = least ? std::max(x[k], other) : std::min(x[k], other);
    }
  }
  return x;
}

std::optional<Floats> Joined(const Graph& graph, const Node& node) {
  Floats all;
  for (const ValueId id : node.inputs) {
    const auto part = Read(graph, id);
    if (!part || graph.value(id).shape->size() != 1) return std::nullopt;
    all.insert(all.end(), part->begin(), part->end());
  }
  return all;
}

// Whether what all read it for may be a shape: a weight's layouts are the weight's own.
bool LeadsToShapes(const Graph& graph, ValueId id) {
  constexpr const char* kOnTheWay[] = {"Abs",   "Cast", "Ceil", "Clip", "Concat",
                                       "Floor", "Max",  "Min",  "Relu", "Round"};
  const std::vector<int> readers = graph.Consumers(id);
  return !readers.empty() && std::ranges::all_of(readers, [&](int reader) {
    const std::string& op = graph.nodes()[reader].op;
    return std::ranges::find(kOnTheWay, op) != std::end(kOnTheWay);
  });
}

std::optional<Floats> Compute(const Graph& graph, const Node& node, const Floats& x) {
  if (node.op == "Ceil") return Mapped(x, [](float v) { return std::ceil(v); });
  if (node.op == "Floor") return Mapped(x, [](float v) { return std::floor(v); });
  if (node.op == "Round") return Mapped(x, [](float v) { return std::nearbyint(v); });
  if (node.op == "Abs") return Mapped(x, [](float v) { return std::fabs(v); });
  if (node.op == "Relu") return Mapped(x, [](float v) { return std::max(v, 0.0F); });
  if (node.op == "Max" || node.op == "Min" || node.op == "Clip") return Bounded(graph, node, x);
  return node.op == "Concat" ? Joined(graph, node) : std::nullopt;
}

std::optional<Tensor> ToInts(const Floats& x, DType dtype, const Shape& shape) {
  for (const float value : x) {
    if (!(std::fabs(value) < kMostExtent)) return std::nullopt;
  }
  if (dtype == DType::kInt64) return Tensor::From<int64_t>(shape, {x.begin(), x.end()});
  if (dtype == DType::kInt32) return Tensor::From<int32_t>(shape, {x.begin(), x.end()});
  return std::nullopt;
}

}  // namespace

std::optional<Tensor> ComputeShapeFloats(const Graph& graph, const Node& node) {
  if (node.inputs.empty() || node.outputs.size() != 1) return std::nullopt;
  const Value& out = graph.value(node.outputs[0]);
  const auto x = Read(graph, node.inputs[0]);
  if (!x || !out.shape) return std::nullopt;
  if (node.op == "Cast") return ToInts(*x, out.dtype, *out.shape);
  if (out.dtype != DType::kFloat32) return std::nullopt;
  if (IsLayout(graph, node)) {
    if (!LeadsToShapes(graph, node.outputs[0])) return std::nullopt;
    return ComputeLayout(graph, node);
  }
  const auto made = Compute(graph, node, *x);
  if (!made || schema::KnownProduct(*out.shape) != static_cast<int64_t>(made->size())) {
    return std::nullopt;
  }
  return Tensor::From<float>(*out.shape, *made);
}

}  // namespace ds
