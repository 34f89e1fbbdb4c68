#include "graph/schema/internal.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ds::schema {

OpSchema Op(std::string name, int min_inputs, int max_inputs,
            std::vector<AttributeSchema> attributes, InferFunction infer) {
  OpSchema op;
  op.name = std::move(name);
  op.min_inputs = min_inputs;
  op.max_inputs = max_inputs;
  op.attributes = std::move(attributes);
  op.infer = infer;
  return op;
}

Inferred One(DType dtype, Shape shape) {
  return std::vector<InferredValue>{{dtype, std::move(shape)}};
}

Inferred SameAsInput(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  return One(context.InputDType(0), std::move(shape));
}

absl::Status CheckChoice(const Node& node, const std::string& key, const std::string& fallback,
                         const std::vector<std::string>& choices) {
  const std::string value = node.GetString(key, fallback);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "attribute '", key, "' is '", value, "'; supported are ", absl::StrJoin(choices, ", ")));
}

absl::StatusOr<int64_t> NormalizeAxis(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    return absl::InvalidArgumentError(absl::StrCat("axis ", axis, " is outside [", -rank, ", ",
                                                   rank, ") of a tensor of rank ", rank));
  }
  return axis < 0 ? axis + rank : axis;
}

absl::StatusOr<std::vector<int64_t>> NormalizeAxes(std::vector<int64_t> axes, int64_t rank) {
  for (int64_t& axis : axes) {
    DS_ASSIGN_OR_RETURN(axis, NormalizeAxis(axis, rank));
  }
  std::vector<int64_t> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    return absl::InvalidArgumentError(absl::StrCat("axis ", *twice, " is given twice"));
  }
  return axes;
}

std::optional<std::vector<int64_t>> PartlyKnown(const InferenceContext& context, int i) {
  if (!context.HasInput(i)) return std::nullopt;
  if (context.known_ints != nullptr) {
    auto it = context.known_ints->find(context.node.inputs[i]);
    if (it != context.known_ints->end()) return it->second;
  }
  if (const Tensor* constant = ConstantInput(context, i)) {
    std::optional<std::vector<int64_t>> ints = IntElements(*constant);
    // INT64_MIN as the end of a backward slice means "beyond the first", not an unknown number.
    if (ints) {
      for (int64_t& x : *ints) x = std::max(x, kFirstKnownInt);
    }
    return ints;
  }
  const Value& value = context.graph.value(context.node.inputs[i]);
  if (!value.shape.has_value() || value.shape->size() != 1) return std::nullopt;
  // A bound on what a shape may have as rank, so that a damaged file cannot make us allocate at
  // will.
  const int64_t length = value.shape->front();
  if (length < 0 || length > 64) return std::nullopt;
  return std::vector<int64_t>(length, kUnknownInt);
}

std::optional<std::vector<int64_t>> AllKnown(const InferenceContext& context, int i) {
  std::optional<std::vector<int64_t>> ints = PartlyKnown(context, i);
  const bool known = ints.has_value() && std::all_of(ints->begin(), ints->end(),
                                                     [](int64_t x) { return x >= kFirstKnownInt; });
  return known ? ints : std::nullopt;
}

absl::StatusOr<int64_t> KnownCount(const InferenceContext& context, int i, absl::string_view what) {
  const std::optional<std::vector<int64_t>> ints = PartlyKnown(context, i);
  if (ints.has_value()) return static_cast<int64_t>(ints->size());
  return absl::FailedPreconditionError(
      absl::StrCat("input ", i, " (", std::string(what),
                   ") must have a known length; make it a constant of integers"));
}

absl::StatusOr<std::vector<int64_t>> FullyKnown(const InferenceContext& context, int i,
                                                absl::string_view what) {
  std::optional<std::vector<int64_t>> ints = AllKnown(context, i);
  if (!ints.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("input ", i, " (", std::string(what),
                     ") must be known before the graph runs; make it a constant of integers"));
  }
  return *std::move(ints);
}

const Tensor* ConstantInput(const InferenceContext& context, int i) {
  if (!context.HasInput(i)) return nullptr;
  const ValueId id = context.node.inputs[i];
  if (const Tensor* tensor = context.graph.Constant(id)) return tensor;
  const int producer = context.graph.Producer(id);
  if (producer < 0) return nullptr;
  const Node& node = context.graph.nodes()[producer];
  if (node.op != "Constant") return nullptr;
  auto it = node.attributes.find("value");
  return it == node.attributes.end() ? nullptr : std::get_if<Tensor>(&it->second);
}

std::optional<std::vector<int64_t>> IntElements(const Tensor& tensor) {
  auto widen = [](auto span) { return std::vector<int64_t>(span.begin(), span.end()); };
  switch (tensor.dtype()) {
    case DType::kInt64:
      return widen(tensor.span<int64_t>());
    case DType::kInt32:
      return widen(tensor.span<int32_t>());
    case DType::kBool: {
      std::vector<int64_t> elements;
      for (std::byte byte : tensor.bytes()) elements.push_back(byte != std::byte{0});
      return elements;
    }
    default:
      return std::nullopt;
  }
}

std::optional<int64_t> KnownProduct(absl::Span<const int64_t> extents) {
  int64_t product = 1;
  for (int64_t extent : extents) {
    if (IsDynamic(extent) || __builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  }
  return product;
}

}  // namespace ds::schema
