#include "graph/onnx/rewrite/emitter.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/known_ints.h"

namespace ds::onnx_io {

namespace {

template <typename T>
T ValueOr(const Node& node, const std::string& key, T fallback) {
  auto it = node.attributes.find(key);
  const T* held = it == node.attributes.end() ? nullptr : std::get_if<T>(&it->second);
  return held == nullptr ? fallback : *held;
}

}  // namespace

int64_t IntOr(const Node& node, const std::string& key, int64_t fallback) {
  return ValueOr(node, key, fallback);
}

float FloatOr(const Node& node, const std::string& key, float fallback) {
  return ValueOr(node, key, fallback);
}

ValueId Emitter::Constant(const std::string& what, Tensor tensor) {
  return graph_.AddInitializer(absl::StrCat("const:", like_.name, ".", what), std::move(tensor),
                               false);
}

absl::StatusOr<ValueId> Emitter::Number(const std::string& what, float number, ValueId like) {
  DS_RETURN_IF_ERROR(ShapeOf(like).status());  // infers the type, too
  const ValueId constant = Constant(what, Tensor::Scalar(number));
  const DType type = graph_.value(like).dtype;
  if (type == DType::kFloat32) return constant;
  return Op("Cast", {constant}, {{"to", OnnxTypeNumber(type)}});
}

ValueId Emitter::Op(const std::string& op, std::vector<ValueId> inputs, Attributes attributes) {
  const ValueId output = graph_.AddValue(absl::StrCat(like_.name, ".", op));
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  graph_.AddNode({.name = graph_.value(output).name,
                  .op = op,
                  .inputs = std::move(inputs),
                  .outputs = {output},
                  .attributes = std::move(attributes)});
  return output;
}

void Emitter::Finish(const std::string& op, std::vector<ValueId> inputs, Attributes attributes,
                     size_t slot) {
  while (!inputs.empty() && inputs.back() == kNoValue) inputs.pop_back();
  graph_.AddNode({.name = slot == 0 ? like_.name : absl::StrCat(like_.name, ".", slot),
                  .op = op,
                  .inputs = std::move(inputs),
                  .outputs = {like_.outputs[slot]},
                  .attributes = std::move(attributes)});
}

absl::Status Emitter::Need(size_t inputs) const {
  for (size_t i = 0; i < inputs; ++i) {
    if (!Has(i)) return absl::InvalidArgumentError(absl::StrCat("it lacks input ", i));
  }
  return absl::OkStatus();
}

absl::Status Emitter::InferTo(ValueId value, KnownInts& known) {
  graph_.MarkOutput(value);  // inference wants an output to exist
  const absl::Status inferred = InferShapesAndInts(graph_, known);
  graph_.mutable_outputs().pop_back();
  return inferred;
}

absl::StatusOr<Shape> Emitter::ShapeOf(ValueId value) {
  if (value == kNoValue) return absl::InvalidArgumentError("a required input is absent");
  if (!graph_.value(value).shape.has_value()) {
    KnownInts known;
    DS_RETURN_IF_ERROR(InferTo(value, known));
  }
  if (!graph_.value(value).shape.has_value()) {
    return absl::UnimplementedError("the rank of an input is not known");
  }
  return *graph_.value(value).shape;
}

}  // namespace ds::onnx_io
