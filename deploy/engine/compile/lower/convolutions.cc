// Convolutions and products with constant matrices, of codes and of floats.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "graph/schema/schema.h"
#include "graph/schema/window.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

file::Window OneByOne() { return {1, 1, 1, 1, 1, 1, 0, 0, 1}; }

file::Window WindowOf(const ds::Window& from, int64_t groups) {
  const auto field = [](int64_t number) { return static_cast<uint32_t>(number); };
  return {field(from.kernel[0]),    field(from.kernel[1]),    field(from.strides[0]),
          field(from.strides[1]),   field(from.dilations[0]), field(from.dilations[1]),
          field(from.pad_begin[0]), field(from.pad_begin[1]), field(groups)};
}

// [O, I, kh, kw] -> [O, kh, kw, I], or [kh, kw, O] where I is 1 and each channel has its own.
template <typename T>
std::vector<T> Turned(absl::Span<const T> from, const Shape& shape, bool depthwise) {
  const int64_t outputs = shape[0], inputs = shape[1], taps = shape[2] * shape[3];
  std::vector<T> to(from.size());
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < inputs; ++i) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t place = depthwise ? tap * outputs + o : (o * taps + tap) * inputs + i;
        to[place] = from[(o * inputs + i) * taps + tap];
      }
    }
  }
  return to;
}

// Rows for columns where the matrix is [K, N].
template <typename T>
std::vector<T> Rows(absl::Span<const T> from, int64_t rows, int64_t columns, bool turn) {
  std::vector<T> to(from.begin(), from.end());
  for (int64_t r = 0; turn && r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) to[c * rows + r] = from[r * columns + c];
  }
  return to;
}

// Whether no sum on the way can leave int32: what FoldBias() asks for. `axis` is that of the
// weights' output channels: 0, or the last of two.
bool SumsFit(const CodeWeight& weight, int axis, const std::vector<int32_t>& bias, int32_t zero) {
  const size_t outputs = bias.size(), depth = weight.codes.size() / std::max<size_t>(1, outputs);
  for (size_t o = 0; o < outputs; ++o) {
    int64_t sum = 0, magnitudes = 0;
    for (size_t k = 0; k < depth; ++k) {
      const int64_t code = weight.codes[axis == 0 ? o * depth + k : k * outputs + o];
      sum += code;
      magnitudes += std::abs(code);
    }
    if (std::abs(bias[o] - zero * sum) + 255 * magnitudes > INT32_MAX) return false;
  }
  return true;
}

bool IsDepthwise(int64_t groups, int64_t channels, int64_t outputs) {
  return groups > 1 && groups == channels && outputs == channels;
}

}  // namespace

bool IsPlainGemm(const Node& node) {
  return node.op == "MatMul" || (node.GetInt("transA", 0) == 0 && node.GetFloat("alpha", 1) == 1 &&
                                 node.GetFloat("beta", 1) == 1);
}

std::optional<std::vector<int32_t>> Lowering::BiasCodes(ValueId bias, float input_scale,
                                                        const std::vector<float>& scales) {
  std::vector<int32_t> result(scales.size(), 0);
  if (bias == kNoValue) return result;
  const Node* node = makers_.Of(bias);
  std::optional<ConstantInts> codes;
  std::optional<Tensor> steps;
  if (node != nullptr && node->op == "DequantizeLinear" &&
      graph_.value(node->inputs[0]).dtype == DType::kInt32) {
    codes = ConstantIntegers(graph_, makers_, node->inputs[0]);
    steps = ConstantFloats(graph_, makers_, node->inputs[1]);
  }
  const auto reals = ConstantFloats(graph_, makers_, bias);
  if (!reals || (reals->num_elements() != static_cast<int64_t>(scales.size()) &&
                 reals->num_elements() != 1)) {
    return std::nullopt;
  }
  for (size_t c = 0; c < scales.size(); ++c) {
    const size_t at = reals->num_elements() == 1 ? 0 : c;
    const double step = static_cast<double>(input_scale) * scales[c];
    const double stored = steps ? steps->span<float>()[steps->num_elements() == 1 ? 0 : c] : 0;
    // As it is stored where it counts in the product's own step.
    const bool exact =
        codes && codes->values.size() == scales.size() && std::fabs(stored - step) <= 1e-5 * step;
    const double value = exact
                             ? codes->values[c]
                             : std::nearbyint(static_cast<double>(reals->span<float>()[at]) / step);
    if (!(std::fabs(value) <= INT32_MAX)) return std::nullopt;
    result[c] = static_cast<int32_t>(value);
  }
  return result;
}

absl::StatusOr<std::optional<Held>> Lowering::ConvCodes(const Node& node, const Target& target) {
  const auto type = CodeType(node.inputs[0]);
  const auto weight = WeightOf(graph_, makers_, node.inputs[1], 0);
  if (!type || !weight || weight->shape.size() != 4) return std::nullopt;
  const auto bias =
      BiasCodes(node.inputs.size() > 2 ? node.inputs[2] : kNoValue, type->scale, weight->scales);
  const Shape& from = ShapeOf(node.inputs[0]);
  const int64_t groups = node.GetInt("group", 1);
  const Shape& w = weight->shape;
  if (!bias || w[1] * w[2] * w[3] > kMaxDepth || !SumsFit(*weight, 0, *bias, type->zero)) {
    return std::nullopt;
  }
  DS_ASSIGN_OR_RETURN(const ds::Window window,
                      ResolveWindow(node, {w[2], w[3]}, {from[2], from[3]}));
  const bool depthwise = IsDepthwise(groups, from[1], w[0]);
  DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int image, AsImage(codes));
  const int result = AddTensor("", file::Type::kUint8, ImageDims(ShapeOf(node.outputs[0])));
  Step& step =
      Emit(depthwise ? OperatorKind::kDepthwise8 : OperatorKind::kConv8, node, {image}, result);
  step.parameters = file::Conv8Parameters{
      WindowOf(window, groups), type->zero, target.scale.zero, target.low, target.high, 0, 0, {}};
  step.codes = Turned<int8_t>(weight->codes, w, depthwise);
  step.bias = *bias;
  for (const float scale : weight->scales) {
    step.multiplier.push_back(type->scale * scale / target.scale.scale);
  }
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, true};
}

absl::StatusOr<std::optional<Held>> Lowering::ProductCodes(const Node& node, const Target& target) {
  const bool rows = node.op == "Gemm" && node.GetInt("transB", 0) != 0;  // [N, K]
  const auto type = CodeType(node.inputs[0]);
  const auto weight = WeightOf(graph_, makers_, node.inputs[1], rows ? 0 : 1);
  if (!type || !weight || weight->shape.size() != 2 || !IsPlainGemm(node)) return std::nullopt;
  const int64_t depth = weight->shape[rows ? 1 : 0];
  const auto bias =
      BiasCodes(node.inputs.size() > 2 ? node.inputs[2] : kNoValue, type->scale, weight->scales);
  if (!bias || depth > kMaxDepth || ShapeOf(node.inputs[0]).size() < 2 ||
      !SumsFit(*weight, rows ? 0 : 1, *bias, type->zero)) {
    return std::nullopt;
  }
  DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(codes));
  const Shape& shape = ShapeOf(node.outputs[0]);
  const int result = AddTensor("", file::Type::kUint8, Dims(shape.begin(), shape.end()));
  Step& step = Emit(OperatorKind::kConv8, node, {from}, result);
  step.parameters = file::Conv8Parameters{
      OneByOne(), type->zero, target.scale.zero, target.low, target.high, 0, 0, {}};
  step.codes = Rows<int8_t>(weight->codes, weight->shape[0], weight->shape[1], !rows);
  step.bias = *bias;
  for (const float scale : weight->scales) {
    step.multiplier.push_back(type->scale * scale / target.scale.scale);
  }
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, false};
}

absl::StatusOr<std::optional<Held>> Lowering::ProductToReal(const Node& node) {
  const bool rows = node.op == "Gemm" && node.GetInt("transB", 0) != 0;  // [N, K]
  const auto type = CodeType(node.inputs[0]);
  const auto weight = WeightOf(graph_, makers_, node.inputs[1], rows ? 0 : 1);
  if (!type || !weight || weight->shape.size() != 2 || !IsPlainGemm(node)) return std::nullopt;
  const int64_t depth = weight->shape[rows ? 1 : 0], columns = weight->shape[rows ? 0 : 1];
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto bias = biased ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  if (biased && (!bias || (bias->num_elements() != 1 && bias->num_elements() != columns)))
    return std::nullopt;
  const std::vector<int32_t> none(static_cast<size_t>(columns), 0);
  if (depth > kMaxDepth || ShapeOf(node.inputs[0]).size() < 2 ||
      !SumsFit(*weight, rows ? 0 : 1, none, type->zero)) {
    return std::nullopt;
  }
  DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(codes));
  const Shape& shape = ShapeOf(node.outputs[0]);
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               Dims(shape.begin(), shape.end()));
  Step& step = Emit(OperatorKind::kDense8, node, {from}, result);
  step.codes = Rows<int8_t>(weight->codes, weight->shape[0], weight->shape[1], !rows);
  // The zero point's share of each sum.
  for (int64_t c = 0; c < columns; ++c) {
    int64_t sum = 0;
    for (int64_t k = 0; k < depth; ++k) sum += step.codes[static_cast<size_t>(c * depth + k)];
    step.bias.push_back(static_cast<int32_t>(-type->zero * sum));
  }
  for (const float scale : weight->scales) step.multiplier.push_back(type->scale * scale);
  for (int64_t c = 0; bias && c < columns; ++c)
    step.real_bias.push_back(bias->span<float>()[bias->num_elements() == 1 ? 0 : c]);
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, false};
}

absl::StatusOr<Held> Lowering::ConvReal(const Node& node) {
  const auto weight = ConstantFloats(graph_, makers_, node.inputs[1]);
  const Shape& from = ShapeOf(node.inputs[0]);
  if (!weight) return Refuse(node, "its weight is no constant");
  if (from.size() != 4) return Refuse(node, "it has other than two spatial axes");
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto bias = biased ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  if (biased && !bias) return Refuse(node, "its bias is no constant");
  const Shape& w = weight->shape();
  DS_ASSIGN_OR_RETURN(const ds::Window window,
                      ResolveWindow(node, {w[2], w[3]}, {from[2], from[3]}));
  const int64_t groups = node.GetInt("group", 1);
  const bool depthwise = IsDepthwise(groups, from[1], w[0]);
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int image, AsImage(held));
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               ImageDims(ShapeOf(node.outputs[0])));
  Step& step =
      Emit(depthwise ? OperatorKind::kDepthwiseF32 : OperatorKind::kConvF32, node, {image}, result);
  step.parameters = file::ConvF32Parameters{WindowOf(window, groups), 0, 0, 0, 0};
  step.reals = Turned<float>(weight->span<float>(), w, depthwise);
  if (bias) step.real_bias.assign(bias->span<float>().begin(), bias->span<float>().end());
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, true};
}

absl::StatusOr<Held> Lowering::ProductReal(const Node& node) {
  DS_ASSIGN_OR_RETURN(std::optional<Held> integers, ProductOfFourBits(node));
  if (integers) return *integers;
  DS_ASSIGN_OR_RETURN(integers, ProductToReal(node));
  if (integers) return *integers;
  const auto weight = ConstantFloats(graph_, makers_, node.inputs[1]);
  if (node.op == "MatMul" && (!weight || weight->rank() != 2)) return MatMulReal(node);
  if (!weight || weight->rank() != 2)
    return Refuse(node, "its second operand is no constant matrix");
  const bool gemm = node.op == "Gemm", rows = gemm && node.GetInt("transB", 0) != 0;
  if (gemm && node.GetInt("transA", 0) != 0) return Refuse(node, "it transposes its first operand");
  if (ShapeOf(node.inputs[0]).size() < 2) return Refuse(node, "its first operand is a vector");
  const bool biased = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const auto bias = biased ? ConstantFloats(graph_, makers_, node.inputs[2]) : std::nullopt;
  const int64_t columns = weight->dim(rows ? 0 : 1);
  if (biased && (!bias || (bias->num_elements() != 1 && bias->num_elements() != columns))) {
    return Refuse(node, "its third operand is no constant of one number a column");
  }
  DS_ASSIGN_OR_RETURN(const Held held, Value(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int from, AsPlain(held));
  const Shape& shape = ShapeOf(node.outputs[0]);
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               Dims(shape.begin(), shape.end()));
  Step& step = Emit(OperatorKind::kConvF32, node, {from}, result);
  step.parameters = file::ConvF32Parameters{OneByOne(), 0, 0, 0, 0};
  step.reals = Rows<float>(weight->span<float>(), weight->dim(0), weight->dim(1), !rows);
  for (float& value : step.reals) value *= gemm ? node.GetFloat("alpha", 1) : 1;
  for (int64_t c = 0; bias && c < columns; ++c) {
    step.real_bias.push_back(bias->span<float>()[bias->num_elements() == 1 ? 0 : c] *
                             node.GetFloat("beta", 1));
  }
  step.macs = MultiplyAccumulates(graph_, node);
  return Held{result, false};
}

}  // namespace ds::engine::compile
