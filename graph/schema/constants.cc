// Operators that make tensors out of constants and shapes.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

const Tensor* ValueAttribute(const Node& node) {
  auto it = node.attributes.find("value");
  return it == node.attributes.end() ? nullptr : std::get_if<Tensor>(&it->second);
}

Inferred InferConstant(const InferenceContext& context) {
  const Tensor* value = ValueAttribute(context.node);
  if (value == nullptr) return absl::InvalidArgumentError("it lacks the attribute 'value'");
  return One(value->dtype(), value->shape());
}

Inferred InferConstantOfShape(const InferenceContext& context) {
  const auto extents = PartlyKnown(context, 0);
  if (!extents) return absl::FailedPreconditionError("the rank of the new shape is not known");
  Shape shape;
  for (int64_t extent : *extents) {
    shape.push_back(extent < kFirstKnownInt ? kDynamicDim : extent);
    if (extent >= kFirstKnownInt && extent < 0) {
      return absl::InvalidArgumentError(absl::StrCat("the new shape holds ", extent));
    }
  }
  const Tensor* value = ValueAttribute(context.node);
  if (value != nullptr && value->num_elements() != 1) {
    return absl::InvalidArgumentError("attribute 'value' must have one element");
  }
  return One(value == nullptr ? DType::kFloat32 : value->dtype(), std::move(shape));
}

Inferred InferShape(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(0));
  const auto rank = static_cast<int64_t>(shape.size());
  auto bound = [rank](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + rank : x, 0, rank); };
  const int64_t start = bound(context.node.GetInt("start", 0));
  const int64_t end = bound(context.node.GetInt("end", rank));
  return One(DType::kInt64, {std::max<int64_t>(end - start, 0)});
}

Inferred InferRange(const InferenceContext& context) {
  const DType type = context.InputDType(0);
  double limits[3];
  for (int i = 0; i < 3; ++i) {
    const Tensor* constant = ConstantInput(context, i);
    if (constant != nullptr && constant->num_elements() == 1 && type == DType::kFloat32 &&
        constant->dtype() == type) {
      limits[i] = constant->span<float>()[0];
      continue;
    }
    const auto ints = IsFloatingPoint(type) ? std::nullopt : PartlyKnown(context, i);
    if (!ints || ints->size() != 1 || ints->front() < kFirstKnownInt) {
      return One(type, {kDynamicDim});
    }
    limits[i] = static_cast<double>(ints->front());
  }
  if (limits[2] == 0.0) return absl::InvalidArgumentError("delta (input 2) must not be 0");
  const double count = std::ceil((limits[1] - limits[0]) / limits[2]);
  if (!(count < 1e12)) return absl::InvalidArgumentError("the range is too long or not a number");
  return One(type, {static_cast<int64_t>(std::max(count, 0.0))});
}

}  // namespace

void AddConstants(Table& table) {
  const AttributeSchema value{"value", AttributeType::kTensor, false};
  table.push_back(Op("Constant", 0, 0, {Required(value)}, InferConstant));
  table.push_back(Op("ConstantOfShape", 1, 1, {value}, InferConstantOfShape));
  table.push_back(Op("Shape", 1, 1, {Int("start"), Int("end")}, InferShape));
  table.push_back(Op("Range", 3, 3, {}, InferRange));
}

}  // namespace ds::schema
