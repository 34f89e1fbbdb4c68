#include "deploy/engine/compile/lower/lowering.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/fold_empty.h"
#include "deploy/engine/compile/lower/join_moves.h"
#include "deploy/engine/compile/lower/lower.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
std::optional<file::Type> TypeOf(DType type) {
  switch (type) {
    case DType::kFloat32:
      return file::Type::kFloat32;
    case DType::kUInt8:
    case DType::kInt8:  // moved up by 128
      return file::Type::kUint8;
    case DType::kInt32:
      return file::Type::kInt32;
    case DType::kInt64:
      return file::Type::kInt64;
    case DType::kBool:
      return file::Type::kBool;
    default:
      return std::nullopt;
  }
}

int Lowering::AddTensor(std::string name, file::Type type, Dims dims, CodeScale codes) {
  program_.tensors.push_back(
      {.name = std::move(name), .type = type, .dims = std::move(dims), .codes = codes});
  return static_cast<int>(program_.tensors.size()) - 1;
}

Step& Lowering::Emit(file::OperatorKind kind, const Node& node, std::vector<int> inputs,
                     int output) {
  program_.steps.push_back(
      {.kind = kind, .name = node.name, .inputs = std::move(inputs), .outputs = {output}});
  return program_.steps.back();
}

absl::Status Lowering::Refuse(const Node& node, absl::string_view why) const {
  return absl::UnimplementedError(
      absl::StrCat("node '", node.name, "' (", node.op, ") has no kernel in the edge engine: ", why,
                   "; replace it in the model, or run the model with ONNX Runtime"));
}

Shape Lowering::ShapeOf(Held held) const {
  const Dims& dims = program_.tensors[held.tensor].dims;
  Shape shape(dims.begin(), dims.end());
  if (held.image) shape = {dims[0], dims[3], dims[1], dims[2]};
  return shape;
}

absl::StatusOr<Held> Lowering::Value(ValueId id) {
  const auto known = values_.find(id);
  if (known != values_.end()) return known->second;
  DS_ASSIGN_OR_RETURN(const Held held, Make(id));
  values_[id] = held;
  return held;
}

absl::StatusOr<Held> Lowering::Make(ValueId id) {
  const ds::Value& value = graph_.value(id);
  if (const Tensor* constant = graph_.Constant(id)) {
    const auto type = TypeOf(constant->dtype());
    if (!type) {
      return absl::UnimplementedError(absl::StrCat(
          "constant '", value.name, "' is of type ", std::string(Name(constant->dtype())),
          ", which the edge engine does not compute with"));
    }
    const int tensor =
        AddTensor(value.name, *type, Dims(constant->shape().begin(), constant->shape().end()));
    ProgramTensor& made = program_.tensors[tensor];
    made.place = file::Place::kConstant;
    made.data.assign(constant->bytes().begin(), constant->bytes().end());
    if (constant->dtype() == DType::kInt8) {
      for (std::byte& code : made.data) code ^= std::byte{0x80};
    }
    return Held{tensor};
  }
  const Node* node = makers_.Of(id);
  if (value.dtype != DType::kFloat32) {
    if (node->op == "QuantizeLinear") return Quantise(*node);
    if (IsLayout(*node)) {
      DS_ASSIGN_OR_RETURN(const Held from, Value(node->inputs[0]));
      return Arrange(*node, id, from);
    }
    const bool codes = value.dtype == DType::kUInt8 || value.dtype == DType::kInt8;
    if (node->op == "MaxPool" && codes && id == node->outputs[0]) {
      DS_ASSIGN_OR_RETURN(const Held from, Value(node->inputs[0]));
      return MaxOfCodes(*node, from);
    }
    return General(*node, id);
  }
  return MakeReal(*node, id);
}

absl::StatusOr<Held> Lowering::MakeReal(const Node& node, ValueId id) {
  if (const auto constant = ConstantFloats(graph_, makers_, id)) {
    const int tensor = AddTensor(graph_.value(id).name, file::Type::kFloat32,
                                 Dims(constant->shape().begin(), constant->shape().end()));
    program_.tensors[tensor].place = file::Place::kConstant;
    program_.tensors[tensor].data.assign(constant->bytes().begin(), constant->bytes().end());
    return Held{tensor};
  }
  if (node.op == "DequantizeLinear") return Dequantise(node);
  if (node.op == "Conv") return ConvReal(node);
  if (node.op == "Gemm" || node.op == "MatMul") return ProductReal(node);
  if (node.op == "Softmax") return SoftmaxReal(node);
  if (node.op == "LayerNormalization" && id == node.outputs[0]) return LayerNormReal(node);
  if (IsLayout(node)) {
    DS_ASSIGN_OR_RETURN(const Held from, Value(node.inputs[0]));
    return Arrange(node, id, from);
  }
  if (node.op == "Concat") return ConcatValues(node);
  if (IsArithmetic(node)) return BinaryReal(node);
  if (IsUnary(graph_, node)) return ActivateReal(node);
  if (id == node.outputs[0]) {
    DS_ASSIGN_OR_RETURN(const auto window, PoolWindow(node));
    if (window) return PoolReal(node);
  }
  if (node.op == "ReduceMean") return MeanReal(node);
  if (node.op == "BatchNormalization" && id == node.outputs[0]) return NormReal(node);
  return General(node, id);
}

absl::StatusOr<Held> Lowering::ConcatValues(const Node& node) {
  std::vector<Held> parts;
  for (const ValueId input : node.inputs) {
    DS_ASSIGN_OR_RETURN(const Held part, Value(input));
    parts.push_back(part);
  }
  return Concat(node, std::move(parts));
}

absl::Status Lowering::AddInputs() {
  for (const ValueId id : graph_.inputs()) {
    const ds::Value& value = graph_.value(id);
    const auto type = TypeOf(value.dtype);
    if (!type || value.shape->size() > file::kMaxRank) {
      return absl::UnimplementedError(absl::StrCat(
          "input '", value.name, "' is of type ", std::string(Name(value.dtype)), " and shape ",
          ShapeString(*value.shape),
          "; the edge engine takes float32, int8, uint8, int32, int64 and bool of at most "
          "six axes: change the model's input"));
    }
    const int tensor = AddTensor(value.name, *type, Dims(value.shape->begin(), value.shape->end()));
    program_.tensors[tensor].place = file::Place::kInput;
    program_.tensors[tensor].number = static_cast<int>(program_.inputs.size());
    program_.inputs.push_back(tensor);
    values_[id] = Held{tensor};
    if (value.dtype == DType::kInt8) {
      program_.tensors[tensor].type = file::Type::kInt8;
      if (HasNoElements(value)) continue;
      values_[id] = Held{Convert(tensor, file::Type::kUint8, true, value.name)};
    }
  }
  return absl::OkStatus();
}

// In the graph's layout.
absl::StatusOr<int> Lowering::OutputTensor(ValueId id) {
  const Node* node = makers_.Of(id);
  if (node != nullptr && node->op == "DequantizeLinear" && !values_.contains(id) &&
      !graph_.IsInitializer(node->inputs[0])) {
    const auto scale = ScaleOf(graph_, makers_, *node);
    DS_ASSIGN_OR_RETURN(const Held codes, Value(node->inputs[0]));
    const Shape& shape = ShapeOf(id);
    if (scale && codes.image && shape[2] * shape[3] > 1 && shape[1] > 1) {
      const int tensor =
          AddTensor(graph_.value(id).name, file::Type::kFloat32, Dims(shape.begin(), shape.end()));
      DS_ASSIGN_OR_RETURN(const int dense, Dense(codes.tensor));
      Emit(file::OperatorKind::kDequantise, *node, {dense}, tensor).parameters =
          file::QuantiseParameters{scale->scale, scale->zero, static_cast<uint32_t>(shape[1])};
      return tensor;
    }
  }
  DS_ASSIGN_OR_RETURN(const Held held, Value(id));
  return AsPlain(held);
}

// Nothing writes it.
absl::Status Lowering::AddEmptyOutput(const ds::Value& value) {
  const auto type = TypeOf(value.dtype);
  if (!type || value.shape->size() > file::kMaxRank) {
    return absl::UnimplementedError(
        absl::StrCat("output '", value.name, "' is of type ", std::string(Name(value.dtype)),
                     " and shape ", ShapeString(*value.shape), "; leave it out of the model"));
  }
  const int tensor = AddTensor(value.name, value.dtype == DType::kInt8 ? file::Type::kInt8 : *type,
                               Dims(value.shape->begin(), value.shape->end()));
  program_.tensors[tensor].place = file::Place::kOutput;
  program_.tensors[tensor].number = static_cast<int>(program_.outputs.size());
  program_.outputs.push_back(tensor);
  return absl::OkStatus();
}

absl::Status Lowering::AddOutputs() {
  for (const ValueId id : graph_.outputs()) {
    if (HasNoElements(graph_.value(id))) {
      DS_RETURN_IF_ERROR(AddEmptyOutput(graph_.value(id)));
      continue;
    }
    DS_ASSIGN_OR_RETURN(int tensor, OutputTensor(id));
    if (graph_.value(id).dtype == DType::kInt8) {
      DS_ASSIGN_OR_RETURN(tensor, Dense(tensor));
      tensor = Convert(tensor, file::Type::kInt8, true, graph_.value(id).name);
    }
    ProgramTensor& made = program_.tensors[tensor];
    const bool sliced = std::any_of(
        program_.tensors.begin(), program_.tensors.end(),
        [&](const ProgramTensor& other) { return other.view_of == tensor && other.first >= 0; });
    if (made.place == file::Place::kConstant) {
      const int copy = AddTensor(graph_.value(id).name, made.type, Dims(made.dims), made.codes);
      program_.steps.push_back({.kind = file::OperatorKind::kCast,
                                .name = graph_.value(id).name,
                                .inputs = {tensor},
                                .outputs = {copy},
                                .parameters = file::CastParameters{0}});
      tensor = copy;
    } else if (made.place != file::Place::kArena || made.view_of >= 0 || sliced) {
      Strided all = StridesOf(Held{tensor});
      Dims dims = made.dims;
      DS_ASSIGN_OR_RETURN(tensor, Move(all, std::move(dims), graph_.value(id).name));
    }
    ProgramTensor& output = program_.tensors[tensor];
    output.place = file::Place::kOutput;
    output.number = static_cast<int>(program_.outputs.size());
    output.name = graph_.value(id).name;
    program_.outputs.push_back(tensor);
    for (ProgramTensor& other : program_.tensors) {
      if (other.view_of == tensor) {
        other.place = file::Place::kOutput;
        other.number = output.number;
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Program> Lowering::Run() {
  DS_RETURN_IF_ERROR(AddInputs());
  DS_RETURN_IF_ERROR(AddOutputs());
  if (options_.passes.join_moves) JoinMoves(program_);
  return std::move(program_);
}

absl::StatusOr<Program> Lower(const Graph& graph, const CompileOptions& options) {
  return Lowering(graph, options).Run();
}

}  // namespace ds::engine::compile
