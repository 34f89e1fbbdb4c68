#include "graph/schema/known_ints.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "graph/schema/internal.h"
#include "graph/schema/known_logic.h"

namespace ds {

namespace {

using Ints = std::vector<int64_t>;

// More elements than any shape or list of axes has.
constexpr int64_t kMaxElements = 256;

bool IsKnown(int64_t x) { return x >= kFirstKnownInt; }

// A number of its own for extent `dim` of value `id`: the same wherever that extent is asked for.
int64_t ExtentMark(ValueId id, int dim) {
  return kUnknownInt + 1 + static_cast<int64_t>(id) * 64 + dim;
}

std::optional<Ints> Find(const InferenceContext& context, int i) {
  // A constant that is not in the table is too long, or holds a number that would read as a mark.
  if (!context.HasInput(i)) return std::nullopt;
  const bool listed = context.known_ints->contains(context.node.inputs[i]);
  if (!listed && schema::ConstantInput(context, i) != nullptr) return std::nullopt;
  return schema::PartlyKnown(context, i);
}

std::optional<Ints> EvaluateShape(const InferenceContext& context) {
  const auto shape = context.InputShape(0);
  if (!shape.ok()) return std::nullopt;
  const auto rank = static_cast<int64_t>(shape->size());
  auto bound = [rank](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + rank : x, 0, rank); };
  const int64_t start = bound(context.node.GetInt("start", 0));
  const int64_t end = bound(context.node.GetInt("end", rank));
  Ints out;
  for (int64_t i = start; i < end; ++i) {
    const int64_t extent = (*shape)[i];
    out.push_back(extent == kDynamicDim ? ExtentMark(context.node.inputs[0], static_cast<int>(i))
                                        : extent);
  }
  return out;
}

// Element by element over two lists, one of which may be a single element.
std::optional<Ints> Zip(const std::optional<Ints>& a, const std::optional<Ints>& b,
                        const std::function<int64_t(int64_t, int64_t)>& apply) {
  if (!a || !b || a->empty() || b->empty()) return std::nullopt;
  if (a->size() != b->size() && a->size() != 1 && b->size() != 1) return std::nullopt;
  Ints out(std::max(a->size(), b->size()));
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = apply((*a)[a->size() == 1 ? 0 : i], (*b)[b->size() == 1 ? 0 : i]);
  }
  return out;
}

int64_t Arithmetic(const std::string& op, int64_t a, int64_t b) {
  // A neutral element keeps an unknown number what it is.
  if ((op == "Mul" || op == "Div") && b == 1) return a;
  if (op == "Mul" && a == 1) return b;
  if ((op == "Add" || op == "Sub") && b == 0) return a;
  if (op == "Add" && a == 0) return b;
  if (!IsKnown(a) || !IsKnown(b)) return kUnknownInt;
  int64_t result = 0;
  bool overflow = false;
  if (op == "Add") overflow = __builtin_add_overflow(a, b, &result);
  if (op == "Sub") overflow = __builtin_sub_overflow(a, b, &result);
  if (op == "Mul") overflow = __builtin_mul_overflow(a, b, &result);
  if (op == "Div") {
    overflow = b == 0;
    if (!overflow) result = a / b;
  }
  return overflow || !IsKnown(result) ? kUnknownInt : result;
}

std::optional<Ints> EvaluateGather(const InferenceContext& context) {
  const auto data = Find(context, 0);
  const auto indices = Find(context, 1);
  const auto shape = context.InputShape(0);
  if (!data || !indices || !shape.ok() || shape->size() != 1) return std::nullopt;
  const auto size = static_cast<int64_t>(data->size());
  Ints out;
  for (int64_t index : *indices) {
    if (index < -size || index >= size) return std::nullopt;
    out.push_back((*data)[index < 0 ? index + size : index]);
  }
  return out;
}

std::optional<Ints> EvaluateConcat(const InferenceContext& context) {
  Ints out;
  for (size_t i = 0; i < context.node.inputs.size(); ++i) {
    const auto part = Find(context, static_cast<int>(i));
    const auto shape = context.InputShape(static_cast<int>(i));
    if (!part || !shape.ok() || shape->size() != 1) return std::nullopt;
    out.insert(out.end(), part->begin(), part->end());
  }
  return out;
}

// x[::-1] of the rows of a matrix, and below Transpose: PyTorch's exporter turns the pads of F.pad
// around with them. The end lies below every index, where known integers do not reach: it is read
// from the constant.
std::optional<Ints> EvaluateReversedRows(const InferenceContext& context) {
  const auto data = Find(context, 0);
  const auto shape = context.InputShape(0);
  const Tensor* end = schema::ConstantInput(context, 2);
  const auto ends = end == nullptr ? std::nullopt : schema::IntElements(*end);
  const bool whole = ends && ends->size() == 1 && ends->front() < -kMaxElements &&
                     Find(context, 1) == Ints{-1} && Find(context, 3) == Ints{0} &&
                     Find(context, 4) == Ints{-1};
  if (!whole || !data || !shape.ok() || shape->empty() || shape->front() <= 0) return std::nullopt;
  const size_t row = data->size() / static_cast<size_t>(shape->front());
  Ints out;
  for (size_t end_of_row = data->size(); end_of_row >= row && row > 0; end_of_row -= row) {
    out.insert(out.end(), data->begin() + (end_of_row - row), data->begin() + end_of_row);
  }
  return out;
}

std::optional<Ints> EvaluateTranspose(const InferenceContext& context) {
  const auto data = Find(context, 0);
  const auto shape = context.InputShape(0);
  if (!data || !shape.ok() || shape->size() != 2) return std::nullopt;
  if (context.node.GetInts("perm", {1, 0}) != std::vector<int64_t>{1, 0}) return std::nullopt;
  const auto columns = static_cast<size_t>(std::max<int64_t>(shape->back(), 0));
  Ints out;
  for (size_t column = 0; column < columns; ++column) {
    for (size_t i = column; i < data->size(); i += columns) out.push_back((*data)[i]);
  }
  return out;
}

std::optional<Ints> EvaluateSlice(const InferenceContext& context) {
  if (auto reversed = EvaluateReversedRows(context)) return reversed;
  const auto data = Find(context, 0);
  // Bounds alone may lie beyond what is a mark elsewhere: INT64_MIN is "from the first".
  const auto starts = schema::PartlyKnown(context, 1);
  const auto ends = schema::PartlyKnown(context, 2);
  const auto shape = context.InputShape(0);
  if (!data || !starts || !ends || !shape.ok() || shape->size() != 1) return std::nullopt;
  const Ints steps = Find(context, 4).value_or(Ints{1});
  if (starts->size() != 1 || ends->size() != 1 || steps != Ints{1}) return std::nullopt;
  const auto size = static_cast<int64_t>(data->size());
  if (!IsKnown(starts->front()) || !IsKnown(ends->front())) return std::nullopt;
  auto bound = [size](int64_t x) { return std::clamp<int64_t>(x < 0 ? x + size : x, 0, size); };
  const int64_t start = bound(starts->front());
  const int64_t end = std::max(start, bound(ends->front()));
  return Ints(data->begin() + start, data->begin() + end);
}

std::optional<Ints> EvaluateFill(const InferenceContext& context) {
  const auto extents = Find(context, 0);
  if (!extents) return std::nullopt;
  int64_t count = 1;
  for (int64_t extent : *extents) {
    if (extent < 0 || extent > kMaxElements) return std::nullopt;
    count *= extent;
    if (count > kMaxElements) return std::nullopt;
  }
  auto it = context.node.attributes.find("value");
  if (it == context.node.attributes.end()) return std::nullopt;  // zeros of float32
  const auto* tensor = std::get_if<Tensor>(&it->second);
  const auto value = tensor == nullptr ? std::nullopt : schema::IntElements(*tensor);
  if (!value || value->size() != 1) return std::nullopt;
  return Ints(count, value->front());
}

// One number for all elements, or the same elements again.
std::optional<Ints> EvaluateExpand(const InferenceContext& context) {
  const auto data = Find(context, 0);
  const auto& shape = context.graph.value(context.node.outputs[0]).shape;
  const auto count = shape ? schema::KnownProduct(*shape) : std::nullopt;
  if (!data || !count || *count > kMaxElements) return std::nullopt;
  if (data->size() == 1) return Ints(static_cast<size_t>(*count), data->front());
  return data;  // of another number of elements: EvaluateKnownInts drops it
}

std::optional<Ints> EvaluateWhere(const InferenceContext& context) {
  const auto condition = Find(context, 0);
  const auto yes = Find(context, 1);
  const auto no = Find(context, 2);
  if (!condition || !yes || !no) return std::nullopt;
  if (condition->size() != yes->size() || yes->size() != no->size()) return std::nullopt;
  Ints out;
  for (size_t i = 0; i < yes->size(); ++i) {
    const int64_t choice = (*condition)[i];
    out.push_back(!IsKnown(choice) ? kUnknownInt : choice != 0 ? (*yes)[i] : (*no)[i]);
  }
  return out;
}

std::optional<Ints> EvaluateCast(const InferenceContext& context) {
  std::optional<Ints> data = Find(context, 0);
  if (data && context.graph.value(context.node.outputs[0]).dtype == DType::kBool) {
    for (int64_t& x : *data) x = IsKnown(x) ? x != 0 : kUnknownInt;
  }
  return data;
}

std::optional<Ints> Evaluate(const InferenceContext& context) {
  const std::string& op = context.node.op;
  if (op == "Shape") return EvaluateShape(context);
  if (op == "Gather") return EvaluateGather(context);
  if (op == "Concat") return EvaluateConcat(context);
  if (op == "Slice") return EvaluateSlice(context);
  if (op == "Transpose") return EvaluateTranspose(context);
  if (op == "ConstantOfShape") return EvaluateFill(context);
  if (op == "Expand") return EvaluateExpand(context);
  if (op == "Where") return EvaluateWhere(context);
  if (op == "Cast") return EvaluateCast(context);
  if (op == "Identity" || op == "Squeeze" || op == "Unsqueeze" || op == "Reshape") {
    return Find(context, 0);
  }
  if (op == "Equal") {
    return Zip(Find(context, 0), Find(context, 1), [](int64_t a, int64_t b) -> int64_t {
      // An extent is never negative, so a mark differs from -1 whatever it stands for.
      if (a == b && a != kUnknownInt) return 1;
      if (IsKnown(a) && IsKnown(b)) return 0;
      const int64_t known = IsKnown(a) ? a : b;
      const int64_t mark = IsKnown(a) ? b : a;
      return IsKnown(known) && known < 0 && mark != kUnknownInt ? 0 : kUnknownInt;
    });
  }
  if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") {
    return Zip(Find(context, 0), Find(context, 1),
               [&op](int64_t a, int64_t b) { return Arithmetic(op, a, b); });
  }
  std::vector<std::optional<Ints>> operands;
  for (size_t i = 0; i < context.node.inputs.size(); ++i) {
    operands.push_back(Find(context, static_cast<int>(i)));
  }
  return EvaluateLogic(context, operands);
}

}  // namespace

void RememberConstant(ValueId id, const Tensor& tensor, KnownInts& known) {
  if (tensor.num_elements() > kMaxElements) return;
  std::optional<Ints> ints = schema::IntElements(tensor);
  if (ints && std::all_of(ints->begin(), ints->end(), IsKnown)) known[id] = *std::move(ints);
}

void EvaluateKnownInts(const InferenceContext& context, KnownInts& known) {
  const Node& node = context.node;
  if (node.outputs.size() != 1 || node.outputs[0] == kNoValue) return;
  const Value& value = context.graph.value(node.outputs[0]);
  const bool integer =
      value.dtype == DType::kInt64 || value.dtype == DType::kInt32 || value.dtype == DType::kBool;
  if (!integer || !value.shape.has_value()) return;
  if (node.op == "Constant") {
    auto it = node.attributes.find("value");
    const auto* tensor = it == node.attributes.end() ? nullptr : std::get_if<Tensor>(&it->second);
    if (tensor != nullptr) RememberConstant(node.outputs[0], *tensor, known);
    return;
  }
  for (ValueId id : node.inputs) {
    // Only what comes from integers is followed (Cast from float would need the floats).
    if (id == kNoValue || node.op == "Shape" || node.op == "Size") continue;
    if (context.graph.value(id).dtype == DType::kFloat32) return;
  }
  std::optional<Ints> ints = Evaluate(context);
  if (!ints || static_cast<int64_t>(ints->size()) > kMaxElements) return;
  // What is followed must fit the inferred shape; a broadcast that Zip does not model is dropped
  // here.
  const std::optional<int64_t> count = schema::KnownProduct(*value.shape);
  if (!count || *count != static_cast<int64_t>(ints->size())) return;
  known[node.outputs[0]] = *std::move(ints);
}

}  // namespace ds
