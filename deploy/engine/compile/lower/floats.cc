// Between floats.
#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "graph/schema/window.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

// The kernels' activation that the node is, with its bounds; none: kNone.
file::ActivateParameters ActivationOf(const Graph& graph, const Node& node) {
  constexpr float kMost = std::numeric_limits<float>::infinity();
  const auto plain = [](Activation kind) {
    return file::ActivateParameters{static_cast<uint32_t>(kind), 0, 0};
  };
  if (node.op == "Relu" || node.op == "Clip") {
    const auto low = ApplyUnary(graph, node, -kMost), high = ApplyUnary(graph, node, kMost);
    if (low && high) return {static_cast<uint32_t>(Activation::kClamp), *low, *high};
  }
  if (node.op == "Sigmoid") return plain(Activation::kSigmoid);
  if (node.op == "SiLU") return plain(Activation::kSilu);
  if (node.op == "HardSwish") return plain(Activation::kHardSwish);
  if (node.op == "Tanh") return plain(Activation::kTanh);
  if (node.op == "LeakyRelu") {
    return {static_cast<uint32_t>(Activation::kLeakyRelu), node.GetFloat("alpha", 0.01f), 0};
  }
  const bool sixth =
      std::fabs(node.op == "HardSigmoid" ? node.GetFloat("alpha", 0.2f) - 1.0f / 6 : 1.0f) < 1e-6f;
  if (sixth && node.GetFloat("beta", 0.5f) == 0.5f) return plain(Activation::kHardSigmoid);
  if (node.op == "Gelu" && node.GetString("approximate", "none") == "none") {
    return plain(Activation::kGelu);
  }
  return plain(Activation::kNone);
}

std::optional<Binary> BinaryOf(const Node& node) {
  if (node.op == "Add") return Binary::kAdd;
  if (node.op == "Sub") return Binary::kSubtract;
  if (node.op == "Mul") return Binary::kMultiply;
  if (node.op == "Div") return Binary::kDivide;
  if (node.op == "Max") return Binary::kMaximum;
  if (node.op == "Min") return Binary::kMinimum;
  return std::nullopt;
}

bool IsMeanOverImage(const Graph& graph, const Node& node, size_t rank) {
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (node.inputs.size() > 1 && node.inputs[1] != kNoValue) {
    const Tensor* constant = graph.Constant(node.inputs[1]);
    if (constant == nullptr || constant->dtype() != DType::kInt64) return false;
    axes.assign(constant->span<int64_t>().begin(), constant->span<int64_t>().end());
  }
  for (int64_t& axis : axes) axis += axis < 0 ? static_cast<int64_t>(rank) : 0;
  std::sort(axes.begin(), axes.end());
  return rank == 4 && axes == std::vector<int64_t>{2, 3};
}

}  // namespace

absl::StatusOr<std::optional<file::PoolF32Parameters>> Lowering::PoolWindow(const Node& node) {
  const bool all = node.op == "GlobalAveragePool" || node.op == "GlobalMaxPool";
  const bool max = node.op == "MaxPool" || node.op == "GlobalMaxPool";
  if (!all && !max && node.op != "AveragePool" && node.op != "ReduceMean") return std::nullopt;
  const Shape& from = ShapeOf(node.inputs[0]);
  if (from.size() != 4) return std::nullopt;
  file::PoolF32Parameters result{};
  const auto channels = static_cast<uint32_t>(from[1]);
  result.way = static_cast<uint32_t>(max ? file::PoolWay::kMax : file::PoolWay::kAverage);
  if (all || node.op == "ReduceMean") {
    if (!all && !IsMeanOverImage(graph_, node, from.size())) return std::nullopt;
    result.window = {
        static_cast<uint32_t>(from[2]), static_cast<uint32_t>(from[3]), 1, 1, 1, 1, 0, 0, channels};
    return result;
  }
  DS_ASSIGN_OR_RETURN(const ds::Window window,
                      ResolveWindow(node, node.GetInts("kernel_shape", {}), {from[2], from[3]}));
  const auto field = [](int64_t number) { return static_cast<uint32_t>(number); };
  result.window = {
      field(window.kernel[0]),    field(window.kernel[1]),    field(window.strides[0]),
      field(window.strides[1]),   field(window.dilations[0]), field(window.dilations[1]),
      field(window.pad_begin[0]), field(window.pad_begin[1]), channels};
  result.count_padding = node.GetInt("count_include_pad", 0) != 0;
  for (int axis = 0; axis < 2 && !max && result.count_padding; ++axis) {
    // With padding counted, a window that ceil_mode lets hang over the padding counts less.
    const int64_t end = (window.output[axis] - 1) * window.strides[axis] +
                        (window.kernel[axis] - 1) * window.dilations[axis] + 1;
    if (end > from[2 + axis] + window.pad_begin[axis] + window.pad_end[axis]) return std::nullopt;
  }
  return result;
}

absl::StatusOr<Held> Lowering::PoolResult(const Node& node, int tensor) {
  const Shape& shape = ShapeOf(node.outputs[0]);
  if (shape.size() == 4) return Held{tensor, true};
  DS_ASSIGN_OR_RETURN(const int view, View(tensor, Dims(shape.begin(), shape.end()),
                                           graph_.value(node.outputs[0]).name));
  return Held{view};
}

absl::StatusOr<Held> Lowering::PoolReal(const Node& node) {
  DS_ASSIGN_OR_RETURN(const auto window, PoolWindow(node));
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int image, AsImage(held));
  const Dims& from = program_.tensors[image].dims;
  Shape shape = ShapeOf(node.outputs[0]);
  if (shape.size() != 4) shape = {from[0], from[3], 1, 1};
  const int result =
      AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32, ImageDims(shape));
  Emit(OperatorKind::kPoolF32, node, {image}, result).parameters = *window;
  return PoolResult(node, result);
}

absl::StatusOr<Held> Lowering::ActivateReal(const Node& node) {
  const file::ActivateParameters activation = ActivationOf(graph_, node);
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  const Dims dims = program_.tensors[held.tensor].dims;
  const std::string& name = graph_.value(node.outputs[0]).name;
  if (activation.activation != static_cast<uint32_t>(Activation::kNone)) {
    const int result = AddTensor(name, file::Type::kFloat32, dims);
    Emit(OperatorKind::kActivateF32, node, {held.tensor}, result).parameters = activation;
    return Held{result, held.image};
  }
  return UnaryGeneral(node);
}

// Whether a row, or one of an image, covers the other operand as the kernels of rows have it.
bool Lowering::Covers(const Held& held, const Shape& whole, bool image) const {
  Shape shape = ShapeOf(held);
  if (shape == whole || whole.empty()) return shape == whole;
  shape.insert(shape.begin(), whole.size() - shape.size(), 1);
  const int64_t elements = Elements(Dims(shape.begin(), shape.end()));
  if (elements == 1) return program_.tensors[held.tensor].place == file::Place::kConstant;
  if (!image) return shape.back() == whole.back() && elements == whole.back();
  return shape[1] == whole[1] && (elements == whole[1] || elements == whole[0] * whole[1]) &&
         shape[0] * shape[1] == elements;
}

absl::StatusOr<Held> Lowering::BinaryReal(const Node& node) {
  auto operation = BinaryOf(node);
  const auto power =
      node.op == "Pow" ? ConstantFloats(graph_, makers_, node.inputs[1]) : std::nullopt;
  const bool square = power && power->num_elements() == 1 && power->span<float>()[0] == 2;
  if (square) operation = Binary::kMultiply;
  if (!operation)
    return power && power->num_elements() == 1 ? UnaryGeneral(node) : BinaryGeneral(node);
  DS_ASSIGN_OR_RETURN(const Held a, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const Held b, Value(node.inputs[square ? 0 : 1]));
  const Shape& shape = ShapeOf(node.outputs[0]);
  const bool ordered = *operation == Binary::kSubtract || *operation == Binary::kDivide;
  const bool image = shape.size() == 4 && (a.image || b.image);
  const bool first = ShapeOf(a) == shape && Covers(b, shape, image);
  const bool second = !ordered && ShapeOf(b) == shape && Covers(a, shape, image);
  if (!first && !second) return BinaryGeneral(node);
  DS_ASSIGN_OR_RETURN(const Operands operands, Spread(a, b, shape, node.name));
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               program_.tensors[operands.a].dims);
  Emit(OperatorKind::kBinaryF32, node, {operands.a, operands.b}, result).parameters =
      file::BinaryF32Parameters{static_cast<uint32_t>(*operation),
                                static_cast<uint32_t>(operands.spread), 0, 0, 0};
  return Held{result, operands.image};
}

absl::StatusOr<Held> Lowering::SoftmaxReal(const Node& node) {
  const Shape& shape = ShapeOf(node.inputs[0]);
  const auto rank = static_cast<int64_t>(shape.size());
  int64_t axis = node.GetInt("axis", -1);
  axis += axis < 0 ? rank : 0;
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  const bool channels = rank == 4 && axis == 1;
  if (!channels && axis != rank - 1) return Refuse(node, "its axis is not the last one");
  absl::StatusOr<int> from = channels ? AsImage(held) : AsPlain(held);
  DS_RETURN_IF_ERROR(from.status());
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               program_.tensors[*from].dims);
  Emit(OperatorKind::kSoftmaxF32, node, {*from}, result);
  return Held{result, channels};
}

absl::StatusOr<Lowering::Norm> Lowering::NormOf(const Node& node) const {
  const Shape& shape = ShapeOf(node.inputs[0]);
  const int64_t axis = node.GetInt("axis", -1);
  if (axis != -1 && axis != static_cast<int64_t>(shape.size()) - 1)
    return Refuse(node, "its axis is not the last one");
  const bool shifted = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto scale = ConstantFloats(graph_, makers_, node.inputs[1]);
  const auto shift = shifted ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  if (!scale || (shifted && !shift)) return Refuse(node, "its scale or shift is no constant");
  if (scale->num_elements() != shape.back() || (shift && shift->num_elements() != shape.back())) {
    return Refuse(node, "its scale or shift is not one number a channel");
  }
  Norm norm;
  const auto factors = scale->span<float>();
  const bool scaled = std::any_of(factors.begin(), factors.end(), [](float f) { return f != 1; });
  if (scaled) norm.scale.assign(factors.begin(), factors.end());
  if (shift) norm.shift.assign(shift->span<float>().begin(), shift->span<float>().end());
  norm.parameters = {node.GetFloat("epsilon", 1e-5f), scaled ? 1u : 0u, shift ? 1u : 0u};
  return norm;
}

absl::StatusOr<Held> Lowering::LayerNormReal(const Node& node) {
  DS_ASSIGN_OR_RETURN(Norm norm, NormOf(node));
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(held));
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               program_.tensors[from].dims);
  Step& step = Emit(OperatorKind::kLayerNormF32, node, {from}, result);
  step.parameters = norm.parameters;
  step.multiplier = std::move(norm.scale);
  step.real_bias = std::move(norm.shift);
  return Held{result};
}

}  // namespace ds::engine::compile
