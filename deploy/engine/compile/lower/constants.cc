#include "deploy/engine/compile/lower/constants.h"

#include <algorithm>
#include <numeric>

#include "base/tensor/int_tensor.h"

namespace ds::engine::compile {

Makers::Makers(const Graph& graph)
    : graph_(graph), maker_(graph.values().size(), -1), reads_(graph.values().size(), 0) {
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId id : graph.nodes()[i].outputs) {
      if (id != kNoValue) maker_[static_cast<size_t>(id)] = static_cast<int>(i);
    }
    for (const ValueId id : graph.nodes()[i].inputs) {
      if (id != kNoValue) ++reads_[static_cast<size_t>(id)];
    }
  }
  for (const ValueId id : graph.outputs()) ++reads_[static_cast<size_t>(id)];
}

const Node* Makers::Of(ValueId id) const {
  const int index = id == kNoValue ? -1 : maker_[static_cast<size_t>(id)];
  return index < 0 ? nullptr : &graph_.nodes()[static_cast<size_t>(index)];
}

namespace {

constexpr int kMaxChain = 32;  // of nodes between an initialiser and its reader

bool IsReshape(const Node& node) {
  return node.op == "Reshape" || node.op == "Flatten" || node.op == "Squeeze" ||
         node.op == "Unsqueeze" || node.op == "Identity" ||
         (node.op == "Clip" && (node.inputs.size() < 2 || node.inputs[1] == kNoValue) &&
          (node.inputs.size() < 3 || node.inputs[2] == kNoValue));
}

std::optional<Tensor> Floats(const Graph& graph, const Makers& makers, ValueId id, int depth);

// Which scale an element has: index / inner % count.
struct Along {
  int64_t count = 1, inner = 1;
};
std::optional<Along> ScalesAlong(const Node& node, const Shape& shape, int64_t scales) {
  if (node.GetInt("block_size", 0) != 0) return std::nullopt;
  if (scales == 1) return Along{};
  const int64_t rank = static_cast<int64_t>(shape.size());
  int64_t axis = node.GetInt("axis", 1);
  if (axis < 0) axis += rank;
  if (axis < 0 || axis >= rank || shape[axis] != scales) return std::nullopt;
  Along along{.count = scales};
  for (int64_t i = axis + 1; i < rank; ++i) along.inner *= shape[i];
  return along;
}

// In blocks along an axis: every element with the scale of its block.
int64_t BlockOf(int64_t index, const Shape& shape, int64_t axis, int64_t block) {
  int64_t inner = 1;
  for (size_t i = static_cast<size_t>(axis) + 1; i < shape.size(); ++i) inner *= shape[i];
  const int64_t extent = shape[static_cast<size_t>(axis)];
  const int64_t at = index / inner % extent;
  const int64_t outer = index / (inner * extent);
  return (outer * ((extent + block - 1) / block) + at / block) * inner + index % inner;
}

std::optional<Tensor> Dequantised(const Graph& graph, const Makers& makers, const Node& node,
                                  int depth) {
  const auto codes = ConstantIntegers(graph, makers, node.inputs[0]);
  const auto scales = Floats(graph, makers, node.inputs[1], depth + 1);
  if (!codes || !scales) return std::nullopt;
  std::vector<int32_t> zeros(static_cast<size_t>(scales->num_elements()), 0);
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    const auto given = ConstantIntegers(graph, makers, node.inputs[2]);
    if (!given || given->values.size() != zeros.size()) return std::nullopt;
    zeros = given->values;
  }
  const int64_t block = node.GetInt("block_size", 0);
  int64_t axis = node.GetInt("axis", 1);
  if (axis < 0) axis += static_cast<int64_t>(codes->shape.size());
  const auto along = ScalesAlong(node, codes->shape, scales->num_elements());
  if (!along && block == 0) return std::nullopt;
  Tensor result(DType::kFloat32, codes->shape);
  const auto out = result.mutable_span<float>();
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t at =
        static_cast<size_t>(block > 0 ? BlockOf(static_cast<int64_t>(i), codes->shape, axis, block)
                                      : static_cast<int64_t>(i) / along->inner % along->count);
    if (at >= zeros.size()) return std::nullopt;
    out[i] = static_cast<float>(codes->values[i] - zeros[at]) * scales->span<float>()[at];
  }
  return result;
}

// Of equal shapes, or one of them a single element.
std::optional<Tensor> Arithmetic(const Graph& graph, const Makers& makers, const Node& node,
                                 int depth) {
  const auto a = Floats(graph, makers, node.inputs[0], depth + 1);
  const auto b = Floats(graph, makers, node.inputs[1], depth + 1);
  if (!a || !b) return std::nullopt;
  const bool a_one = a->num_elements() == 1, b_one = b->num_elements() == 1;
  if (!a_one && !b_one && a->shape() != b->shape()) return std::nullopt;
  Tensor result(DType::kFloat32, b_one && a->rank() >= b->rank() ? a->shape() : b->shape());
  const auto out = result.mutable_span<float>();
  for (size_t i = 0; i < out.size(); ++i) {
    const float x = a->span<float>()[a_one ? 0 : i], y = b->span<float>()[b_one ? 0 : i];
    out[i] = node.op == "Mul" ? x * y : node.op == "Div" ? x / y : node.op == "Add" ? x + y : x - y;
  }
  return result;
}

std::optional<Tensor> Transposed(const Tensor& from, const Node& node) {
  const int rank = from.rank();
  std::vector<int64_t> order(static_cast<size_t>(rank));
  std::iota(order.rbegin(), order.rend(), 0);
  order = node.GetInts("perm", order);
  Shape shape(order.size());
  std::vector<int64_t> strides(order.size(), 1), steps(order.size());
  for (int i = rank - 2; i >= 0; --i) strides[i] = strides[i + 1] * from.dim(i + 1);
  for (int i = 0; i < rank; ++i) {
    shape[i] = from.dim(static_cast<int>(order[i]));
    steps[i] = strides[order[i]];
  }
  Tensor result(DType::kFloat32, shape);
  const auto out = result.mutable_span<float>();
  for (int64_t i = 0; i < from.num_elements(); ++i) {
    int64_t left = i, place = 0;
    for (int axis = rank - 1; axis >= 0; --axis) {
      place += left % shape[axis] * steps[axis];
      left /= shape[axis];
    }
    out[i] = from.span<float>()[place];
  }
  return result;
}

std::optional<Tensor> Floats(const Graph& graph, const Makers& makers, ValueId id, int depth) {
  if (id == kNoValue || depth > kMaxChain) return std::nullopt;
  if (const Tensor* constant = graph.Constant(id)) {
    if (!IsFloatingPoint(constant->dtype())) return std::nullopt;
    auto floats = constant->ToFloat32();
    return floats.ok() ? std::optional<Tensor>(*std::move(floats)) : std::nullopt;
  }
  const Node* node = makers.Of(id);
  if (node == nullptr) return std::nullopt;
  if (node->op == "DequantizeLinear") return Dequantised(graph, makers, *node, depth);
  if (node->op == "Mul" || node->op == "Div" || node->op == "Add" || node->op == "Sub") {
    return Arithmetic(graph, makers, *node, depth);
  }
  const bool cast = node->op == "Cast" && graph.value(id).dtype == DType::kFloat32;
  if (!cast && !IsReshape(*node) && node->op != "Transpose") return std::nullopt;
  auto from = Floats(graph, makers, node->inputs[0], depth + 1);
  if (!from || cast) return from;
  if (node->op == "Transpose") return Transposed(*from, *node);
  if (!graph.value(id).shape) return std::nullopt;
  auto reshaped = from->Reshape(*graph.value(id).shape);
  return reshaped.ok() ? std::optional<Tensor>(*std::move(reshaped)) : std::nullopt;
}

bool IsByte(DType type) { return type == DType::kInt8 || type == DType::kUInt8; }

}  // namespace

std::optional<Tensor> ConstantFloats(const Graph& graph, const Makers& makers, ValueId id) {
  return Floats(graph, makers, id, 0);
}

std::optional<ConstantInts> ConstantIntegers(const Graph& graph, const Makers& makers, ValueId id) {
  for (int depth = 0; id != kNoValue && depth < kMaxChain; ++depth) {
    if (const Tensor* constant = graph.Constant(id)) {
      auto values = IntValues(*constant);
      if (!values.ok()) return std::nullopt;
      return ConstantInts{constant->shape(), *std::move(values)};
    }
    const Node* node = makers.Of(id);
    // To a wider type: values stay.
    if (node == nullptr || node->op != "Cast" ||
        BitWidth(graph.value(id).dtype) < BitWidth(graph.value(node->inputs[0]).dtype)) {
      return std::nullopt;
    }
    id = node->inputs[0];
  }
  return std::nullopt;
}

std::optional<CodeScale> ScaleOf(const Graph& graph, const Makers& makers, const Node& node) {
  const bool makes = node.op == "QuantizeLinear";
  const DType type = graph.value(makes ? node.outputs[0] : node.inputs[0]).dtype;
  const auto scale = ConstantFloats(graph, makers, node.inputs[1]);
  if (!IsByte(type) || !scale || scale->num_elements() != 1) return std::nullopt;
  CodeScale result{scale->span<float>()[0], 0};
  if (node.inputs.size() > 2 && node.inputs[2] != kNoValue) {
    const auto zero = ConstantIntegers(graph, makers, node.inputs[2]);
    if (!zero || zero->values.size() != 1) return std::nullopt;
    result.zero = zero->values[0];
  }
  if (type == DType::kInt8) result.zero += 128;
  return result.scale > 0 ? std::optional(result) : std::nullopt;
}

std::optional<CodeWeight> WeightOf(const Graph& graph, const Makers& makers, ValueId id, int axis) {
  const Node* node = makers.Of(id);
  if (node == nullptr || node->op != "DequantizeLinear") return std::nullopt;
  const auto codes = ConstantIntegers(graph, makers, node->inputs[0]);
  const auto scales = ConstantFloats(graph, makers, node->inputs[1]);
  if (!codes || !scales || axis >= static_cast<int>(codes->shape.size())) return std::nullopt;
  const auto along = ScalesAlong(*node, codes->shape, scales->num_elements());
  if (!along) return std::nullopt;
  Along wanted{.count = codes->shape[axis]};
  for (size_t i = static_cast<size_t>(axis) + 1; i < codes->shape.size(); ++i) {
    wanted.inner *= codes->shape[i];
  }
  if (along->count > 1 && (along->count != wanted.count || along->inner != wanted.inner)) {
    return std::nullopt;
  }
  std::vector<int32_t> zeros(static_cast<size_t>(scales->num_elements()), 0);
  if (node->inputs.size() > 2 && node->inputs[2] != kNoValue) {
    const auto given = ConstantIntegers(graph, makers, node->inputs[2]);
    if (!given || given->values.size() != zeros.size()) return std::nullopt;
    zeros = given->values;
  }
  CodeWeight weight{codes->shape, {}, {}};
  for (size_t i = 0; i < codes->values.size(); ++i) {
    const int64_t at = static_cast<int64_t>(i) / along->inner % along->count;
    const int32_t value = codes->values[i] - zeros[static_cast<size_t>(at)];
    if (value < -128 || value > 127) return std::nullopt;
    weight.codes.push_back(static_cast<int8_t>(value));
  }
  for (int64_t i = 0; i < wanted.count; ++i) {
    weight.scales.push_back(scales->span<float>()[along->count == 1 ? 0 : i]);
  }
  return weight;
}

std::optional<BlockWeight> BlockWeightOf(const Graph& graph, const Makers& makers, ValueId id,
                                         bool rows) {
  constexpr int64_t kStep = 8;  // of the kernels' layout
  const Node* node = makers.Of(id);
  for (; node != nullptr && node->op == "Transpose" && graph.value(id).shape &&
         graph.value(id).shape->size() == 2;
       id = node->inputs[0], node = makers.Of(id)) {
    if (node->GetInts("perm", {1, 0}) == std::vector<int64_t>{1, 0}) rows = !rows;
  }
  if (node == nullptr || node->op != "DequantizeLinear") return std::nullopt;
  const auto codes = ConstantIntegers(graph, makers, node->inputs[0]);
  const auto scales = ConstantFloats(graph, makers, node->inputs[1]);
  if (!codes || !scales || codes->shape.size() != 2) return std::nullopt;
  std::vector<int32_t> zeros(static_cast<size_t>(scales->num_elements()), 0);
  if (node->inputs.size() > 2 && node->inputs[2] != kNoValue) {
    const auto given = ConstantIntegers(graph, makers, node->inputs[2]);
    if (!given || given->values.size() != zeros.size()) return std::nullopt;
    zeros = given->values;
  }
  BlockWeight weight{.outputs = codes->shape[rows ? 0 : 1], .depth = codes->shape[rows ? 1 : 0]};
  const int64_t along = (node->GetInt("axis", 1) + 2) % 2, size = node->GetInt("block_size", 0);
  const bool one = scales->num_elements() == 1, of_depth = along == (rows ? 1 : 0);
  if (size == 0 ? !one && (of_depth || scales->num_elements() != weight.outputs)
                : !of_depth || scales->rank() != 2) {
    return std::nullopt;
  }
  const int64_t whole = (weight.depth + kStep - 1) / kStep * kStep;
  weight.block = size == 0 || size >= weight.depth ? whole : size;
  if (weight.depth == 0 || weight.block % kStep != 0) return std::nullopt;
  const int64_t blocks = (weight.depth + weight.block - 1) / weight.block;
  if (size > 0 && scales->num_elements() != blocks * weight.outputs) return std::nullopt;
  const auto place = [&](int64_t block, int64_t output) {
    if (one) return int64_t{0};
    return size > 0 && rows ? output * blocks + block : block * weight.outputs + output;
  };
  for (int64_t o = 0; o < weight.outputs; ++o) {
    for (int64_t k = 0; k < weight.depth; ++k) {
      const int64_t from = rows ? o * weight.depth + k : k * weight.outputs + o;
      const int32_t value = codes->values[static_cast<size_t>(from)] -
                            zeros[static_cast<size_t>(place(k / weight.block, o))];
      if (value < -8 || value > 7) return std::nullopt;
      weight.codes.push_back(static_cast<int8_t>(value));
    }
  }
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t o = 0; o < weight.outputs; ++o)
      weight.scales.push_back(scales->span<float>()[place(block, o)]);
  }
  return weight;
}

}  // namespace ds::engine::compile
