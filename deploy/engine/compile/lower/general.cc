// Element by element, of any types: functions, conversions, arithmetic of two and choices.
#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

using file::BinaryWay;
using file::kGeneralDims;
using file::OperatorKind;
using file::Type;

struct Named {
  std::string_view op;
  BinaryWay way;
};
constexpr Named kWays[] = {
    {"Add", BinaryWay::kAdd},
    {"Sub", BinaryWay::kSubtract},
    {"Mul", BinaryWay::kMultiply},
    {"Div", BinaryWay::kDivide},
    {"Max", BinaryWay::kMaximum},
    {"Min", BinaryWay::kMinimum},
    {"Pow", BinaryWay::kPower},
    {"PRelu", BinaryWay::kPrelu},
    {"And", BinaryWay::kBitAnd},
    {"Or", BinaryWay::kBitOr},
    {"Xor", BinaryWay::kBitXor},
    {"BitwiseAnd", BinaryWay::kBitAnd},
    {"BitwiseOr", BinaryWay::kBitOr},
    {"BitwiseXor", BinaryWay::kBitXor},
    {"Equal", BinaryWay::kEqual},
    {"Less", BinaryWay::kLess},
    {"Greater", BinaryWay::kGreater},
    {"LessOrEqual", BinaryWay::kLessOrEqual},
    {"GreaterOrEqual", BinaryWay::kGreaterOrEqual},
};

std::optional<BinaryWay> WayOf(const Node& node) {
  if (node.op == "Mod") {
    return node.GetInt("fmod", 0) != 0 ? BinaryWay::kRemainder : BinaryWay::kModulo;
  }
  for (const Named& named : kWays) {
    if (named.op == node.op) return named.way;
  }
  return std::nullopt;
}

bool IsByte(DType type) { return type == DType::kUInt8 || type == DType::kInt8; }

// A walk over `dims`, each operand with a stride for each; neighbours that lie as one for all
// joined.
struct Walk {
  Dims dims;
  std::vector<Dims> strides;

  void Join() {
    Walk joined{{}, std::vector<Dims>(strides.size())};
    for (size_t i = 0; i < dims.size(); ++i) {
      if (dims[i] == 1) continue;
      bool one = !joined.dims.empty();
      for (size_t k = 0; one && k < strides.size(); ++k) {
        one = joined.strides[k].back() == strides[k][i] * dims[i];
      }
      if (one) {
        joined.dims.back() *= dims[i];
      } else {
        joined.dims.push_back(dims[i]);
      }
      for (size_t k = 0; k < strides.size(); ++k) {
        if (one) {
          joined.strides[k].back() = strides[k][i];
        } else {
          joined.strides[k].push_back(strides[k][i]);
        }
      }
    }
    *this = std::move(joined);
  }
  void Write(uint32_t* to, const Dims& from, uint32_t rest) const {
    std::fill_n(to, kGeneralDims, rest);
    for (size_t i = 0; i < from.size(); ++i) {
      to[kGeneralDims - from.size() + i] = static_cast<uint32_t>(from[i]);
    }
  }
};

}  // namespace

// As its number is, not as codes: int8 that were moved up come down.
absl::StatusOr<int> Lowering::Operand(ValueId id) {
  DS_ASSIGN_OR_RETURN(const Held held, Value(id));
  DS_ASSIGN_OR_RETURN(const int plain, AsPlain(held));
  DS_ASSIGN_OR_RETURN(const int dense, Dense(plain));
  if (graph_.value(id).dtype != DType::kInt8) return dense;
  return Convert(dense, Type::kInt8, true, graph_.value(id).name);
}

int Lowering::Convert(int tensor, Type type, bool moved, const std::string& name) {
  const ProgramTensor from = program_.tensors[tensor];
  if (from.type == type) return tensor;
  const int result = AddTensor(absl::StrCat(name, ".", static_cast<int>(type)), type, from.dims);
  program_.steps.push_back({.kind = OperatorKind::kCast,
                            .name = name,
                            .inputs = {tensor},
                            .outputs = {result},
                            .parameters = file::CastParameters{moved ? 1u : 0u}});
  return result;
}

// A number of the value's type from one of `tensor`'s.
int Lowering::Numbered(int tensor, ValueId id) {
  const DType type = graph_.value(id).dtype;
  const std::string& name = graph_.value(id).name;
  if (type == DType::kInt8) {
    return Convert(Convert(tensor, Type::kInt8, false, name), Type::kUint8, true, name);
  }
  return Convert(tensor, *TypeOf(type), false, name);
}

// In whatever layout it lies; bytes as int32.
absl::StatusOr<Held> Lowering::Counted(ValueId id) {
  DS_ASSIGN_OR_RETURN(Held held, Value(id));
  DS_ASSIGN_OR_RETURN(held.tensor, Dense(held.tensor));
  const std::string& name = graph_.value(id).name;
  if (graph_.value(id).dtype == DType::kInt8) {
    held.tensor = Convert(held.tensor, Type::kInt8, true, name);
  }
  if (IsByte(graph_.value(id).dtype)) {
    held.tensor = Convert(held.tensor, Type::kInt32, false, name);
  }
  return held;
}

absl::StatusOr<Held> Lowering::UnaryGeneral(const Node& node) {
  const auto parameters = UnaryOf(graph_, node);
  if (!parameters) return Refuse(node, "none computes this function");
  DS_ASSIGN_OR_RETURN(const Held held, Counted(node.inputs[0]));
  const ValueId id = node.outputs[0];
  const DType type = graph_.value(id).dtype;
  const Type made = IsByte(type) ? Type::kInt32 : *TypeOf(type);
  const int result = AddTensor(graph_.value(id).name, made, program_.tensors[held.tensor].dims);
  Emit(OperatorKind::kUnary, node, {held.tensor}, result).parameters = *parameters;
  return Held{Numbered(result, id), held.image};
}

absl::StatusOr<Held> Lowering::CastGeneral(const Node& node) {
  const ValueId from = node.inputs[0], id = node.outputs[0];
  DS_ASSIGN_OR_RETURN(Held held, Value(from));
  DS_ASSIGN_OR_RETURN(held.tensor, Dense(held.tensor));
  if (graph_.value(from).dtype == graph_.value(id).dtype) return held;
  const std::string& name = graph_.value(id).name;
  if (graph_.value(from).dtype == DType::kInt8) {
    held.tensor = Convert(held.tensor, Type::kInt8, true, name);
  }
  return Held{Numbered(held.tensor, id), held.image};
}

// The strides of a walk over the result, in the order in which it lies.
absl::StatusOr<Held> Lowering::Walked(const Node& node, const std::vector<Held>& operands,
                                      Type type, OperatorKind kind, file::BinaryWay way) {
  const ValueId id = node.outputs[0];
  const Shape& shape = ShapeOf(id);
  bool image = false;
  for (const Held& held : operands) image = image || (shape.size() == 4 && held.image);
  Walk walk{image ? ImageDims(shape) : Dims(shape.begin(), shape.end()), {}};
  std::vector<int> inputs;
  for (const Held& held : operands) {
    const Strided at = StridesOf(held);
    Dims strides(shape.size(), 0);
    const size_t front = shape.size() - at.dims.size();
    for (size_t i = 0; i < at.dims.size(); ++i) {
      if (at.dims[i] != 1) strides[front + i] = at.strides[i];
    }
    walk.strides.push_back(image ? ImageDims(strides) : strides);
    inputs.push_back(held.tensor);
  }
  const Dims dims = walk.dims;
  walk.Join();
  if (walk.dims.size() > kGeneralDims) return Refuse(node, "it repeats along more than six axes");
  const int result = AddTensor(graph_.value(id).name, type, dims);
  Step& step = Emit(kind, node, std::move(inputs), result);
  if (kind == OperatorKind::kBinary) {
    file::BinaryParameters parameters{};
    parameters.way = static_cast<uint32_t>(way);
    walk.Write(parameters.dims, walk.dims, 1);
    walk.Write(parameters.strides_a, walk.strides[0], 0);
    walk.Write(parameters.strides_b, walk.strides[1], 0);
    step.parameters = parameters;
  } else {
    file::SelectParameters parameters{};
    walk.Write(parameters.dims, walk.dims, 1);
    walk.Write(parameters.strides_if, walk.strides[0], 0);
    walk.Write(parameters.strides_a, walk.strides[1], 0);
    walk.Write(parameters.strides_b, walk.strides[2], 0);
    step.parameters = parameters;
  }
  return Held{result, image};
}

absl::StatusOr<Held> Lowering::BinaryGeneral(const Node& node) {
  const auto way = WayOf(node);
  if (!way) return Refuse(node, "none computes this operation");
  const ValueId id = node.outputs[0];
  DS_ASSIGN_OR_RETURN(Held a, Counted(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(Held b, Counted(node.inputs[1]));
  const std::string& name = graph_.value(id).name;
  // Operands of unlike types (of Pow) as the wider one.
  const auto type_of = [&](const Held& held) { return program_.tensors[held.tensor].type; };
  if (type_of(a) != type_of(b)) {
    const bool real = type_of(a) == Type::kFloat32 || type_of(b) == Type::kFloat32;
    const Type wide = real ? Type::kFloat32 : Type::kInt64;
    a.tensor = Convert(a.tensor, wide, false, name);
    b.tensor = Convert(b.tensor, wide, false, absl::StrCat(name, ".exponent"));
  }
  const Type made = *way >= BinaryWay::kEqual ? Type::kBool : type_of(a);
  DS_ASSIGN_OR_RETURN(const Held held, Walked(node, {a, b}, made, OperatorKind::kBinary, *way));
  return Held{Numbered(held.tensor, id), held.image};
}

// One number everywhere, or a range of floats.
absl::StatusOr<Held> Lowering::Filled(const Node& node) {
  const ValueId id = node.outputs[0];
  const Shape& shape = ShapeOf(id);
  if (node.op == "Range") {
    const auto start = ConstantFloats(graph_, makers_, node.inputs[0]);
    const auto delta = ConstantFloats(graph_, makers_, node.inputs[2]);
    if (!start || !delta) return Refuse(node, "its start or step is no constant");
    std::vector<float> values(static_cast<size_t>(Elements(Dims(shape.begin(), shape.end()))));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = start->span<float>()[0] + static_cast<float>(i) * delta->span<float>()[0];
    return Held{AddConstant(graph_.value(id).name, file::Type::kFloat32,
                            Dims(shape.begin(), shape.end()), values)};
  }
  const int tensor = AddTensor(graph_.value(id).name, *TypeOf(graph_.value(id).dtype),
                               Dims(shape.begin(), shape.end()));
  ProgramTensor& made = program_.tensors[tensor];
  made.place = file::Place::kConstant;
  const auto size = static_cast<size_t>(BytesOf(made.type));
  made.data.assign(static_cast<size_t>(Elements(made.dims)) * size, std::byte{0});
  if (const auto value = node.attributes.find("value"); value != node.attributes.end()) {
    const Tensor& number = std::get<Tensor>(value->second);
    for (size_t i = 0; i < made.data.size(); ++i) made.data[i] = number.data()[i % size];
  }
  if (graph_.value(id).dtype == DType::kInt8) {
    for (std::byte& code : made.data) code ^= std::byte{0x80};
  }
  return Held{tensor};
}

absl::StatusOr<Held> Lowering::WhereGeneral(const Node& node) {
  std::vector<Held> operands;
  for (const ValueId input : node.inputs) {
    DS_ASSIGN_OR_RETURN(Held held, Value(input));
    DS_ASSIGN_OR_RETURN(held.tensor, Dense(held.tensor));
    operands.push_back(held);
  }
  return Walked(node, operands, *TypeOf(graph_.value(node.outputs[0]).dtype), OperatorKind::kSelect,
                {});
}

absl::StatusOr<Held> Lowering::General(const Node& node, ValueId id) {
  for (const ValueId value : node.outputs) {
    if (value != kNoValue && !TypeOf(graph_.value(value).dtype)) {
      return Refuse(node, absl::StrCat("it makes ", std::string(Name(graph_.value(value).dtype))));
    }
  }
  const bool range = node.op == "Range" && graph_.value(id).dtype == DType::kFloat32;
  if (node.op == "ConstantOfShape" || range) return Filled(node);
  if (node.op == "Cast") return CastGeneral(node);
  if (node.op == "Where") return WhereGeneral(node);
  if (node.op == "Identity") return Value(node.inputs[0]);
  if (UnaryOf(graph_, node)) return UnaryGeneral(node);
  if (WayOf(node) && node.inputs.size() == 2) return BinaryGeneral(node);
  return AxesGeneral(node, id);
}

}  // namespace ds::engine::compile
