#include "graph/onnx/node_reader.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/tensor_proto.h"

namespace ds::onnx_io {
namespace {

using onnx::AttributeProto;

absl::StatusOr<Attribute> ReadAttribute(const AttributeProto& proto, ExternalData& external) {
  switch (proto.type()) {
    case AttributeProto::INT:
      return Attribute(static_cast<int64_t>(proto.i()));
    case AttributeProto::FLOAT:
      return Attribute(proto.f());
    case AttributeProto::STRING:
      return Attribute(proto.s());
    case AttributeProto::INTS:
      return Attribute(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case AttributeProto::FLOATS:
      return Attribute(std::vector<float>(proto.floats().begin(), proto.floats().end()));
    case AttributeProto::STRINGS:
      return Attribute(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
    case AttributeProto::TENSOR: {
      DS_ASSIGN_OR_RETURN(Tensor tensor, TensorFromProto(proto.t(), external));
      return Attribute(std::move(tensor));
    }
    case AttributeProto::GRAPH:
    case AttributeProto::GRAPHS:
      return absl::UnimplementedError(
          "it holds a subgraph, which is not supported; export the model without control flow");
    case AttributeProto::UNDEFINED:
      return absl::InvalidArgumentError(
          "it has no type; the file is damaged or older than ONNX 1.0");
    default:
      return absl::UnimplementedError("sparse tensors, tensor lists and types are not supported");
  }
}

}  // namespace

absl::StatusOr<Attributes> AttributesFromProto(const onnx::NodeProto& proto,
                                               ExternalData& external) {
  Attributes attributes;
  for (const AttributeProto& attribute : proto.attribute()) {
    const std::string where = absl::StrCat("attribute ", Quoted(attribute.name()));
    if (attribute.has_ref_attr_name() && !attribute.ref_attr_name().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": it refers to a function's attribute outside a function"));
    }
    absl::StatusOr<Attribute> value = ReadAttribute(attribute, external);
    if (!value.ok()) return Annotate(value.status(), where);
    if (!attributes.emplace(attribute.name(), *std::move(value)).second) {
      return absl::InvalidArgumentError(absl::StrCat(where, " is given twice; remove one"));
    }
  }
  return attributes;
}

absl::StatusOr<Tensor> ConstantValue(const Attributes& attributes) {
  if (attributes.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Constant has one attribute, this has ", attributes.size()));
  }
  const auto& [name, value] = *attributes.begin();
  if (name == "value" && std::holds_alternative<Tensor>(value)) return std::get<Tensor>(value);
  if (name == "value_float" && std::holds_alternative<float>(value)) {
    return Tensor::Scalar(std::get<float>(value));
  }
  if (name == "value_int" && std::holds_alternative<int64_t>(value)) {
    return Tensor::Scalar(std::get<int64_t>(value));
  }
  if (name == "value_floats" && std::holds_alternative<std::vector<float>>(value)) {
    const auto& floats = std::get<std::vector<float>>(value);
    return Tensor::From<float>({static_cast<int64_t>(floats.size())}, floats);
  }
  if (name == "value_ints" && std::holds_alternative<std::vector<int64_t>>(value)) {
    const auto& ints = std::get<std::vector<int64_t>>(value);
    return Tensor::From<int64_t>({static_cast<int64_t>(ints.size())}, ints);
  }
  return absl::UnimplementedError(
      absl::StrCat("its attribute ", Quoted(name),
                   " is not supported; supported are value, value_float, "
                   "value_floats, value_int and value_ints"));
}

void AttributeToProto(const std::string& name, const Attribute& value, AttributeProto* proto) {
  proto->set_name(name);
  if (const auto* i = std::get_if<int64_t>(&value)) {
    proto->set_type(AttributeProto::INT);
    proto->set_i(*i);
  } else if (const auto* f = std::get_if<float>(&value)) {
    proto->set_type(AttributeProto::FLOAT);
    proto->set_f(*f);
  } else if (const auto* s = std::get_if<std::string>(&value)) {
    proto->set_type(AttributeProto::STRING);
    proto->set_s(*s);
  } else if (const auto* tensor = std::get_if<Tensor>(&value)) {
    proto->set_type(AttributeProto::TENSOR);
    TensorToProto(*tensor, proto->mutable_t());
  } else if (const auto* ints = std::get_if<std::vector<int64_t>>(&value)) {
    proto->set_type(AttributeProto::INTS);
    for (const int64_t element : *ints) proto->add_ints(element);
  } else if (const auto* floats = std::get_if<std::vector<float>>(&value)) {
    proto->set_type(AttributeProto::FLOATS);
    for (const float element : *floats) proto->add_floats(element);
  } else {
    proto->set_type(AttributeProto::STRINGS);
    for (const std::string& element : std::get<std::vector<std::string>>(value)) {
      proto->add_strings(element);
    }
  }
}

}  // namespace ds::onnx_io
