// Between codes.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

CodeTable TableOf(const Unary& unary, const CodeScale& scale) {
  CodeTable table;
  for (int i = 0; i < 256; ++i) table[i] = CodeOf(unary.real[i], scale);
  return table;
}

// The codes between which a clamp of its input leaves values.
struct Bounds {
  int32_t low, high;
};
std::optional<Bounds> BoundsOf(const Graph& graph, const Node& node, const CodeScale& scale) {
  if (node.op != "Relu" && node.op != "Clip") return std::nullopt;
  const auto low = ApplyUnary(graph, node, -INFINITY), high = ApplyUnary(graph, node, INFINITY);
  if (!low || !high) return std::nullopt;
  return Bounds{CodeOf(*low, scale), CodeOf(*high, scale)};
}

}  // namespace

// Whether what a pad writes is a code.
bool Lowering::FillFits(const Node& node, const CodeScale& scale) const {
  if (node.GetString("mode", "constant") != "constant") return true;
  if (node.inputs.size() < 3 || node.inputs[2] == kNoValue) return true;
  const auto value = ConstantFloats(graph_, makers_, node.inputs[2]);
  return value && value->num_elements() == 1 &&
         RealOf(CodeOf(value->span<float>()[0], scale), scale) == value->span<float>()[0];
}

std::optional<CodeScale> Lowering::CodeType(ValueId real) {
  const auto known = code_types_.find(real);
  if (known != code_types_.end()) return known->second;
  const auto found = FindCodeType(real);
  code_types_[real] = found;
  return found;
}

std::optional<CodeScale> Lowering::FindCodeType(ValueId real) {
  const Node* node = makers_.Of(real);
  if (node == nullptr || graph_.value(real).dtype != DType::kFloat32) return std::nullopt;
  if (node->op == "DequantizeLinear") return ScaleOf(graph_, makers_, *node);
  if (IsLayout(*node)) {
    const auto type = CodeType(node->inputs[0]);
    return type && (node->op != "Pad" || FillFits(*node, *type)) ? type : std::nullopt;
  }
  if (node->op == "MaxPool" && real == node->outputs[0] && ShapeOf(node->inputs[0]).size() == 4) {
    return CodeType(node->inputs[0]);
  }
  if (node->op != "Concat") return std::nullopt;
  const auto first = CodeType(node->inputs[0]);
  for (const ValueId input : node->inputs) {
    if (!first || CodeType(input) != first) return std::nullopt;
  }
  return first;
}

absl::StatusOr<Held> Lowering::CodesOf(ValueId real) {
  const auto known = codes_.find(real);
  if (known != codes_.end()) return known->second;
  const Node& node = *makers_.Of(real);
  absl::StatusOr<Held> held;
  if (node.op == "DequantizeLinear") {
    held = Value(node.inputs[0]);
  } else if (node.op == "Concat") {
    std::vector<Held> parts;
    for (const ValueId input : node.inputs) {
      DS_ASSIGN_OR_RETURN(const Held part, CodesOf(input));
      parts.push_back(part);
    }
    held = Concat(node, std::move(parts));
  } else {
    DS_ASSIGN_OR_RETURN(const Held from, CodesOf(node.inputs[0]));
    held = node.op == "MaxPool" ? MaxOfCodes(node, from) : Arrange(node, real, from);
  }
  if (held.ok()) codes_[real] = *held;
  return held;
}

absl::StatusOr<Held> Lowering::Table(Held codes, const CodeTable& table, const std::string& name,
                                     const std::string& story) {
  bool identity = true;
  for (int i = 0; i < 256; ++i) identity &= table[i] == i;
  if (identity) return codes;
  const int result = AddTensor(name, file::Type::kUint8, program_.tensors[codes.tensor].dims);
  program_.steps.push_back({.kind = OperatorKind::kLookup8,
                            .name = name,
                            .inputs = {codes.tensor},
                            .outputs = {result},
                            .table = table,
                            .story = {story}});
  return Held{result, codes.image};
}

absl::StatusOr<Held> Lowering::Requantise(Held codes, const CodeScale& from, const Target& to,
                                          const std::string& name) {
  CodeTable table;
  for (int i = 0; i < 256; ++i) {
    table[i] = static_cast<uint8_t>(
        std::clamp<int32_t>(CodeOf(RealOf(i, from), to.scale), to.low, to.high));
  }
  return Table(codes, table, name, "codes of another scale");
}

absl::StatusOr<Held> Lowering::Dequantise(const Node& node) {
  const auto scale = ScaleOf(graph_, makers_, node);
  if (!scale) return Refuse(node, "its codes are not of 8 bits with one positive scale");
  DS_ASSIGN_OR_RETURN(const Held codes, Value(node.inputs[0]));
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kFloat32,
                               program_.tensors[codes.tensor].dims);
  Emit(OperatorKind::kDequantise, node, {codes.tensor}, result).parameters =
      file::QuantiseParameters{scale->scale, scale->zero, 1};
  return Held{result, codes.image};
}

absl::StatusOr<Held> Lowering::Quantise(const Node& node) {
  const auto scale = ScaleOf(graph_, makers_, node);
  if (!scale) return Refuse(node, "its codes are not of 8 bits with one positive scale");
  const ValueId real = node.inputs[0];
  const std::string& name = graph_.value(node.outputs[0]).name;
  if (const Unary* unary = unary_.Find(real)) {
    DS_ASSIGN_OR_RETURN(const Held root, Value(unary->root));
    DS_ASSIGN_OR_RETURN(const Held held, Table(root, TableOf(*unary, *scale), name, unary->story));
    program_.tensors[held.tensor].codes = *scale;
    return held;
  }
  if (const auto type = CodeType(real)) {
    DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(real));
    return Requantise(codes, *type, {*scale}, name);
  }
  Target target{*scale};
  ValueId core = real;
  const Node* maker = makers_.Of(core);
  while (maker != nullptr && makers_.Reads(core) == 1) {
    if (IsReshape(*maker)) {
      core = maker->inputs[0];
      maker = makers_.Of(core);
      continue;
    }
    const auto bounds = BoundsOf(graph_, *maker, *scale);
    if (!bounds) break;
    const int32_t low = target.low, high = target.high;
    target.low = std::clamp(bounds->low, low, high);
    target.high = std::clamp(bounds->high, low, high);
    core = maker->inputs[0];
    maker = makers_.Of(core);
  }
  if (maker != nullptr && makers_.Reads(core) == 1) {
    DS_ASSIGN_OR_RETURN(const auto made, MakeCodes(*maker, target));
    if (made) {
      program_.tensors[made->tensor].name = name;
      program_.tensors[made->tensor].codes = *scale;
      if (ShapeOf(*made) == ShapeOf(real)) return *made;
      DS_ASSIGN_OR_RETURN(const int plain, AsPlain(*made));
      const Shape& shape = ShapeOf(real);
      DS_ASSIGN_OR_RETURN(const int view, View(plain, Dims(shape.begin(), shape.end()), name));
      return Held{view};
    }
  }
  DS_ASSIGN_OR_RETURN(Held held, Value(real));
  const Shape shape = ShapeOf(held);
  if (shape.size() == 4 && shape[1] == 1 && !held.image) {
    DS_ASSIGN_OR_RETURN(const int image, AsImage(held));
    held = Held{image, true};
  }
  const ProgramTensor& from = program_.tensors[held.tensor];
  // An image as graphs have it, at the graph's edge.
  const bool planes = from.place == file::Place::kInput && shape.size() == 4 && !held.image;
  const int result =
      AddTensor(name, file::Type::kUint8, planes ? ImageDims(shape) : from.dims, *scale);
  Step& step = Emit(OperatorKind::kQuantise, node, {held.tensor}, result);
  step.parameters = file::QuantiseParameters{scale->scale, scale->zero,
                                             planes ? static_cast<uint32_t>(shape[1]) : 1};
  if (maker != nullptr) step.stays = WhyFloats(*maker, core);
  return Held{result, held.image || planes};
}

// Why `node`, whose result becomes codes, is computed in floats.
std::string Lowering::WhyFloats(const Node& node, ValueId result) {
  if (makers_.Reads(result) != 1) {
    return absl::StrCat("'", graph_.value(result).name, "' has ", makers_.Reads(result),
                        " readers, one of floats");
  }
  for (const ValueId input : node.inputs) {
    const bool real = input != kNoValue && graph_.value(input).dtype == DType::kFloat32;
    if (real && !CodeType(input) && !ConstantFloats(graph_, makers_, input))
      return absl::StrCat("'", graph_.value(input).name, "' is not codes");
  }
  return absl::StrCat("no kernel of codes computes '", node.name, "' (", node.op,
                      ") with its constants and attributes");
}

absl::StatusOr<std::optional<Held>> Lowering::MakeCodes(const Node& node, const Target& target) {
  if (node.op == "Conv") return ConvCodes(node, target);
  if (node.op == "Gemm" || node.op == "MatMul") {
    DS_ASSIGN_OR_RETURN(const auto made, ProductCodes(node, target));
    return made ? made : MatMulCodes(node, target);
  }
  if (node.op == "Softmax") return SoftmaxCodes(node, target);
  if (node.op == "LayerNormalization") return LayerNormCodes(node, target);
  if (node.op == "Add") return AddCodes(node, target);
  if (node.op == "Mul") return MultiplyCodes(node, target);
  if (node.op == "Concat") return ConcatCodes(node, target);
  if (node.op != "MaxPool") return AverageCodes(node, target);
  return std::nullopt;
}

absl::StatusOr<std::optional<Held>> Lowering::AddCodes(const Node& node, const Target& target) {
  const auto a = CodeType(node.inputs[0]), b = CodeType(node.inputs[1]);
  if (!a || !b) return std::nullopt;
  DS_ASSIGN_OR_RETURN(const Held first, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const Held second, CodesOf(node.inputs[1]));
  DS_ASSIGN_OR_RETURN(const Operands operands,
                      Spread(first, second, ShapeOf(node.outputs[0]), node.name));
  const CodeScale &x = operands.swapped ? *b : *a, &y = operands.swapped ? *a : *b;
  const int result = AddTensor("", file::Type::kUint8, program_.tensors[operands.a].dims);
  Emit(OperatorKind::kAdd8, node, {operands.a, operands.b}, result).parameters =
      file::Add8Parameters{{x.scale / target.scale.scale, y.scale / target.scale.scale, x.zero,
                            y.zero, target.scale.zero, target.low, target.high},
                           static_cast<uint32_t>(operands.spread),
                           0};
  return Held{result, operands.image};
}

absl::StatusOr<std::optional<Held>> Lowering::MultiplyCodes(const Node& node,
                                                            const Target& target) {
  const auto a = CodeType(node.inputs[0]), b = CodeType(node.inputs[1]);
  if (!a || !b) return std::nullopt;
  DS_ASSIGN_OR_RETURN(const Held first, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const Held second, CodesOf(node.inputs[1]));
  DS_ASSIGN_OR_RETURN(const Operands operands,
                      Spread(first, second, ShapeOf(node.outputs[0]), node.name));
  const CodeScale &x = operands.swapped ? *b : *a, &y = operands.swapped ? *a : *b;
  const int result = AddTensor("", file::Type::kUint8, program_.tensors[operands.a].dims);
  Emit(OperatorKind::kMultiply8, node, {operands.a, operands.b}, result).parameters =
      file::Multiply8Parameters{x.scale * y.scale / target.scale.scale,
                                x.zero,
                                y.zero,
                                target.scale.zero,
                                target.low,
                                target.high,
                                static_cast<uint32_t>(operands.spread),
                                0};
  return Held{result, operands.image};
}

absl::StatusOr<std::optional<Held>> Lowering::AverageCodes(const Node& node, const Target& target) {
  DS_ASSIGN_OR_RETURN(const auto window, PoolWindow(node));
  const auto type = window ? CodeType(node.inputs[0]) : std::nullopt;
  if (!type) return std::nullopt;
  DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int image, AsImage(codes));
  const Dims& from = program_.tensors[image].dims;
  Shape shape = ShapeOf(node.outputs[0]);
  if (shape.size() != 4) shape = {from[0], from[3], 1, 1};
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kUint8,
                               ImageDims(shape), target.scale);
  Emit(OperatorKind::kPool8, node, {image}, result).parameters =
      file::Pool8Parameters{*window,           type->scale, target.scale.scale, type->zero,
                            target.scale.zero, target.low,  target.high};
  return PoolResult(node, result);
}

absl::StatusOr<Held> Lowering::MaxOfCodes(const Node& node, Held codes) {
  DS_ASSIGN_OR_RETURN(const auto window, PoolWindow(node));
  if (!window) return Refuse(node, "it pools along other axes than two");
  DS_ASSIGN_OR_RETURN(const int image, AsImage(codes));
  const int result = AddTensor(graph_.value(node.outputs[0]).name, file::Type::kUint8,
                               ImageDims(ShapeOf(node.outputs[0])), program_.tensors[image].codes);
  Emit(OperatorKind::kPool8, node, {image}, result).parameters =
      file::Pool8Parameters{*window, 1, 1, 0, 0, 0, 255};
  return Held{result, true};
}

absl::StatusOr<std::optional<Held>> Lowering::ConcatCodes(const Node& node, const Target& target) {
  for (const ValueId input : node.inputs) {
    if (!CodeType(input)) return std::nullopt;
  }
  std::vector<Held> parts;
  for (const ValueId input : node.inputs) {
    DS_ASSIGN_OR_RETURN(const Held codes, CodesOf(input));
    DS_ASSIGN_OR_RETURN(const Held part,
                        Requantise(codes, *CodeType(input), target,
                                   absl::StrCat(graph_.value(input).name, ".joined")));
    parts.push_back(part);
  }
  DS_ASSIGN_OR_RETURN(const Held joined, Concat(node, std::move(parts)));
  return joined;
}

}  // namespace ds::engine::compile
