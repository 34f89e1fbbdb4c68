#include "graph/passes/derived.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "base/tensor/float16.h"
#include "graph/schema/internal.h"

namespace ds {
namespace {

using Doubles = std::vector<double>;

// A value that is larger, and four times as large as what it is made of, is made when it is needed.
constexpr int64_t kMostElements = 1 << 18;

struct Operand {
  Doubles values;
  Shape shape;
};

template <typename T>
Doubles Widen(const Tensor& tensor) {
  const T* values = reinterpret_cast<const T*>(tensor.data());
  Doubles wide(static_cast<size_t>(tensor.num_elements()));
  for (size_t i = 0; i < wide.size(); ++i) {
    if constexpr (std::is_same_v<T, double>) {
      wide[i] = values[i];
    } else {
      wide[i] = static_cast<float>(values[i]);
    }
  }
  return wide;
}

std::optional<Operand> Read(const Graph& graph, const Node& node, size_t slot) {
  if (slot >= node.inputs.size()) return std::nullopt;
  const Tensor* tensor = graph.Constant(node.inputs[slot]);
  if (tensor == nullptr) return std::nullopt;
  switch (tensor->dtype()) {
    case DType::kFloat32:
      return Operand{Widen<float>(*tensor), tensor->shape()};
    case DType::kFloat64:
      return Operand{Widen<double>(*tensor), tensor->shape()};
    case DType::kFloat16:
      return Operand{Widen<Float16>(*tensor), tensor->shape()};
    case DType::kBFloat16:
      return Operand{Widen<BFloat16>(*tensor), tensor->shape()};
    default:
      return std::nullopt;
  }
}

template <typename T>
Tensor Narrow(const Doubles& values, DType dtype, const Shape& shape) {
  Tensor tensor(dtype, shape);
  for (size_t i = 0; i < values.size(); ++i) {
    T value;
    if constexpr (std::is_same_v<T, double>) {
      value = values[i];
    } else {
      value = T(static_cast<float>(values[i]));
    }
    std::memcpy(tensor.mutable_data() + i * sizeof(T), &value, sizeof(T));
  }
  return tensor;
}

std::optional<Tensor> Write(const Doubles& values, DType dtype, const Shape& shape) {
  switch (dtype) {
    case DType::kFloat32:
      return Narrow<float>(values, dtype, shape);
    case DType::kFloat64:
      return Narrow<double>(values, dtype, shape);
    case DType::kFloat16:
      return Narrow<Float16>(values, dtype, shape);
    case DType::kBFloat16:
      return Narrow<BFloat16>(values, dtype, shape);
    default:
      return std::nullopt;
  }
}

Shape Strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// Calls `visit` with the offset of each element of `shape`, in order, under other strides.
void Walk(const Shape& shape, const Shape& strides, const std::function<void(int64_t)>& visit) {
  const int64_t count =
      std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
  Shape index(shape.size(), 0);
  int64_t offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    visit(offset);
    for (size_t axis = shape.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < shape[axis]) break;
      offset -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

// The operand's elements broadcast to `shape`, which it must fit.
Doubles Broadcast(const Operand& operand, const Shape& shape) {
  const Shape own = Strides(operand.shape);
  Shape strides(shape.size(), 0);
  const size_t lead = shape.size() - operand.shape.size();
  for (size_t i = 0; i < own.size(); ++i) strides[lead + i] = operand.shape[i] == 1 ? 0 : own[i];
  Doubles out;
  Walk(shape, strides, [&](int64_t offset) { out.push_back(operand.values[offset]); });
  return out;
}

// The reductions that Reduced computes.
bool IsSum(const std::string& op) {
  return op == "ReduceSum" || op == "ReduceMean" || op == "ReduceL2" || op == "ReduceSumSquare";
}

std::optional<Doubles> Reduced(const Graph& graph, const Node& node, const Operand& x,
                               int64_t count) {
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (node.inputs.size() > 1 && node.inputs[1] != kNoValue) {
    const Tensor* given = graph.Constant(node.inputs[1]);
    const auto ints = given == nullptr ? std::nullopt : schema::IntElements(*given);
    if (!ints) return std::nullopt;
    axes = *ints;
  }
  const auto rank = static_cast<int64_t>(x.shape.size());
  if (axes.empty()) {
    if (node.GetInt("noop_with_empty_axes", 0) != 0) return std::nullopt;
    axes.resize(x.shape.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  Shape kept = x.shape;
  for (const int64_t axis : axes) kept[axis < 0 ? axis + rank : axis] = 1;
  Shape strides = Strides(kept);
  for (size_t i = 0; i < kept.size(); ++i) strides[i] = kept[i] == 1 ? 0 : strides[i];
  const bool squares = node.op == "ReduceL2" || node.op == "ReduceSumSquare";
  Doubles sums(static_cast<size_t>(count), 0.0);
  size_t i = 0;
  Walk(x.shape, strides, [&](int64_t offset) {
    const double value = x.values[i++];
    sums[offset] += squares ? value * value : value;
  });
  const double share = static_cast<double>(count) / static_cast<double>(x.values.size());
  for (double& sum : sums) {
    if (node.op == "ReduceMean") sum *= share;
    if (node.op == "ReduceL2") sum = std::sqrt(sum);
  }
  return sums;
}

std::optional<Doubles> Normalized(const Graph& graph, const Node& node, const Operand& x) {
  std::optional<Operand> parts[4];
  for (size_t i = 0; i < 4; ++i) {
    parts[i] = Read(graph, node, i + 1);
    if (!parts[i] || x.shape.size() < 2 ||
        static_cast<int64_t>(parts[i]->values.size()) != x.shape[1])
      return std::nullopt;
  }
  const double epsilon = node.GetFloat("epsilon", 1e-5F);
  Shape strides(x.shape.size(), 0);
  strides[1] = 1;
  Doubles out;
  Walk(x.shape, strides, [&](int64_t channel) {
    const double unit = (x.values[out.size()] - parts[2]->values[channel]) /
                        std::sqrt(parts[3]->values[channel] + epsilon);
    out.push_back(unit * parts[0]->values[channel] + parts[1]->values[channel]);
  });
  return out;
}

// [..., K] by [K, N].
std::optional<Doubles> Product(const Operand& a, const Operand& b) {
  if (a.shape.size() < 2 || b.shape.size() != 2 || a.shape.back() != b.shape[0]) {
    return std::nullopt;
  }
  const int64_t inner = a.shape.back(), columns = b.shape[1];
  const int64_t rows = inner == 0 ? 0 : std::ssize(a.values) / inner;
  Doubles out(static_cast<size_t>(rows * columns), 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < inner; ++k) {
      const double factor = a.values[i * inner + k];
      for (int64_t j = 0; j < columns; ++j)
        out[i * columns + j] += factor * b.values[k * columns + j];
    }
  }
  return out;
}

// What Gather takes along its axis: a table of relative positions, looked up once for all.
std::optional<Doubles> Gathered(const Graph& graph, const Node& node, const Operand& x) {
  const Tensor* given = graph.Constant(node.inputs[1]);
  const auto indices = given == nullptr ? std::nullopt : schema::IntElements(*given);
  const auto rank = static_cast<int64_t>(x.shape.size());
  int64_t axis = node.GetInt("axis", 0);
  if (axis < 0) axis += rank;
  if (!indices || axis < 0 || axis >= rank) return std::nullopt;
  const int64_t extent = x.shape[axis], each = Strides(x.shape)[axis];
  const int64_t before = extent * each == 0 ? 0 : std::ssize(x.values) / (extent * each);
  Doubles out;
  for (int64_t i = 0; i < before; ++i) {
    for (int64_t index : *indices) {
      if (index < 0) index += extent;
      if (index < 0 || index >= extent) return std::nullopt;
      const auto from = x.values.begin() + (i * extent + index) * each;
      out.insert(out.end(), from, from + each);
    }
  }
  return out;
}

using Unary = double (*)(double);
using Binary = double (*)(double, double);

Unary FindUnary(const std::string& op) {
  if (op == "Sqrt") return [](double x) { return std::sqrt(x); };
  if (op == "Reciprocal") return [](double x) { return 1 / x; };
  if (op == "Neg") return [](double x) { return -x; };
  if (op == "Abs") return [](double x) { return std::abs(x); };
  if (op == "Exp") return [](double x) { return std::exp(x); };
  if (op == "Relu") return [](double x) { return std::max(x, 0.0); };
  if (op == "Sigmoid") return [](double x) { return 1 / (1 + std::exp(-x)); };
  if (op == "Tanh") return [](double x) { return std::tanh(x); };
  return nullptr;
}

Binary FindBinary(const std::string& op) {
  if (op == "Add") return [](double a, double b) { return a + b; };
  if (op == "Sub") return [](double a, double b) { return a - b; };
  if (op == "Mul") return [](double a, double b) { return a * b; };
  if (op == "Div") return [](double a, double b) { return a / b; };
  if (op == "Pow") return [](double a, double b) { return std::pow(a, b); };
  return nullptr;
}

std::optional<Doubles> Compute(const Graph& graph, const Node& node, const Shape& shape) {
  std::optional<Operand> x = Read(graph, node, 0);
  if (!x) return std::nullopt;
  if (IsSum(node.op)) return Reduced(graph, node, *x, *schema::KnownProduct(shape));
  if (node.op == "BatchNormalization") return Normalized(graph, node, *x);
  if (node.op == "Expand") return Broadcast(*x, shape);
  if (node.op == "Gather") return Gathered(graph, node, *x);
  if (const Unary unary = FindUnary(node.op)) {
    for (double& value : x->values) value = unary(value);
    return std::move(x->values);
  }
  const std::optional<Operand> y = Read(graph, node, 1);
  if (!y) return std::nullopt;
  if (node.op == "MatMul") return Product(*x, *y);
  const Binary binary = FindBinary(node.op);
  if (binary == nullptr) return std::nullopt;
  Doubles a = Broadcast(*x, shape);
  const Doubles b = Broadcast(*y, shape);
  for (size_t i = 0; i < a.size(); ++i) a[i] = binary(a[i], b[i]);
  return a;
}

}  // namespace

std::vector<bool> DependOnInputs(const Graph& graph) {
  std::vector<bool> depends(graph.values().size(), false);
  for (const ValueId id : graph.inputs()) depends[id] = true;
  for (const Node& node : graph.nodes()) {
    bool any = node.op == "Dropout";
    for (const ValueId id : node.inputs) any = any || (id != kNoValue && depends[id]);
    for (const ValueId id : node.outputs) {
      if (id != kNoValue) depends[id] = any;
    }
  }
  return depends;
}

std::optional<Tensor> ComputeFloats(const Graph& graph, const Node& node) {
  if (node.outputs.size() != 1 || node.inputs.empty()) return std::nullopt;
  const Value& out = graph.value(node.outputs[0]);
  if (!IsFloatingPoint(out.dtype) || !out.shape.has_value()) return std::nullopt;
  const std::optional<int64_t> count = schema::KnownProduct(*out.shape);
  int64_t most = kMostElements;
  for (const ValueId id : node.inputs) {
    const Tensor* tensor = id == kNoValue ? nullptr : graph.Constant(id);
    if (id != kNoValue && tensor == nullptr) return std::nullopt;
    if (tensor != nullptr) most = std::max(most, 4 * tensor->num_elements());
  }
  if (!count || *count > most) return std::nullopt;
  if (IsLayout(graph, node)) return ComputeLayout(graph, node);
  std::optional<Doubles> values = Compute(graph, node, *out.shape);
  if (!values || static_cast<int64_t>(values->size()) != *count) return std::nullopt;
  return Write(*values, out.dtype, *out.shape);
}

}  // namespace ds
