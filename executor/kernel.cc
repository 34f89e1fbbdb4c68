#include "executor/kernel.h"

#include "absl/strings/str_cat.h"
#include "base/tensor/dtype.h"

namespace ds::executor {

namespace {

std::vector<int64_t> ToInts(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.to(at::kLong).contiguous();
  const int64_t* data = flat.const_data_ptr<int64_t>();
  return {data, data + flat.numel()};
}

bool IsHalf(at::ScalarType type) { return type == at::kBFloat16 || type == at::kHalf; }

}  // namespace

at::Tensor Call::Low(int i) const {
  const at::Tensor& full = In(i);
  if (!run.low_precision()) return IsHalf(full.scalar_type()) ? full.to(at::kFloat) : full;
  if (full.scalar_type() != at::kFloat) return full;
  at::Tensor& low = values_.low[static_cast<size_t>(inputs_[i])];
  if (!low.defined()) low = full.to(run.low_type());
  return low;
}

at::Tensor Call::Matching(int i, int other) const {
  return IsWeight(i) && IsHalf(In(other).scalar_type()) ? Low(i) : In(i);
}

std::optional<std::vector<int64_t>> NodeView::ConstantInts(int i) const {
  const Tensor* tensor = Has(i) ? graph.Constant(node.inputs[i]) : nullptr;
  if (tensor == nullptr || IsFloatingPoint(tensor->dtype())) return std::nullopt;
  return ToInts(ToTorch(*tensor));
}

std::optional<double> NodeView::ConstantScalar(int i) const {
  const Tensor* tensor = Has(i) ? graph.Constant(node.inputs[i]) : nullptr;
  if (tensor == nullptr || tensor->num_elements() != 1) return std::nullopt;
  const auto initializer = graph.initializers().find(node.inputs[i]);
  if (initializer != graph.initializers().end() && initializer->second.trainable)
    return std::nullopt;
  return ToTorch(*tensor).item<double>();
}

std::vector<int64_t> IntsOperand::Get(const Call& call) const {
  if (!present_) return {};
  return fixed_.has_value() ? *fixed_ : ToInts(call.In(input_));
}

double ScalarOperand::Get(const Call& call) const {
  if (!present_) return fallback_;
  return fixed_.has_value() ? *fixed_ : call.In(input_).item<double>();
}

at::Tensor AtLeastFloat(const at::Tensor& x) {
  return IsHalf(x.scalar_type()) ? x.to(at::kFloat) : x;
}

std::optional<at::ScalarType> DeclaredHalf(const NodeView& view, int i) {
  const ValueId id = view.node.outputs.at(static_cast<size_t>(i));
  if (id == kNoValue) return std::nullopt;
  const auto type = TorchType(view.graph.value(id).dtype);
  return type.ok() && IsHalf(*type) ? std::optional(*type) : std::nullopt;
}

at::Tensor Narrowed(const at::Tensor& x, std::optional<at::ScalarType> half) {
  return half.has_value() ? x.to(*half) : x;
}

absl::StatusOr<at::ScalarType> TorchType(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return at::kFloat;
    case DType::kFloat64:
      return at::kDouble;
    case DType::kFloat16:
      return at::kHalf;
    case DType::kBFloat16:
      return at::kBFloat16;
    case DType::kInt2:
    case DType::kInt4:
    case DType::kInt8:
      return at::kChar;
    case DType::kUInt2:
    case DType::kUInt4:
    case DType::kUInt8:
      return at::kByte;
    case DType::kInt16:
      return at::kShort;
    case DType::kUInt16:
      return at::kUInt16;
    case DType::kUInt32:
      return at::kUInt32;
    case DType::kUInt64:
      return at::kUInt64;
    case DType::kInt32:
      return at::kInt;
    case DType::kInt64:
      return at::kLong;
    case DType::kBool:
      return at::kBool;
    default:
      return absl::UnimplementedError(
          absl::StrCat("elements of type ", std::string(Name(dtype)),
                       " cannot be computed with; cast them to another type in the model"));
  }
}

int64_t Axis(int64_t axis, int64_t rank) {
  TORCH_CHECK(axis >= -rank && axis < std::max<int64_t>(rank, 1), "axis ", axis,
              " is outside the tensor's ", rank, " axes");
  return axis < 0 ? axis + rank : axis;
}

}  // namespace ds::executor
