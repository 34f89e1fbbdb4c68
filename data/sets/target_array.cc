#include "data/sets/target_array.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "base/tensor/float16.h"

namespace ds {
namespace {

// From unaligned bytes.
template <typename From, typename To>
void Widen(const std::byte* from, int64_t count, To* to) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + static_cast<size_t>(i) * sizeof(From), sizeof(From));
    to[i] = static_cast<To>(value);
  }
}

void ToInt64(DType dtype, const std::byte* from, int64_t count, int64_t* to) {
  switch (dtype) {
    case DType::kInt8:
      return Widen<int8_t>(from, count, to);
    case DType::kUInt8:
      return Widen<uint8_t>(from, count, to);
    case DType::kInt16:
      return Widen<int16_t>(from, count, to);
    case DType::kUInt16:
      return Widen<uint16_t>(from, count, to);
    case DType::kInt32:
      return Widen<int32_t>(from, count, to);
    case DType::kUInt32:
      return Widen<uint32_t>(from, count, to);
    default:  // uint64 beyond int64 becomes negative, and is refused as that
      return Widen<int64_t>(from, count, to);
  }
}

void ToFloats(DType dtype, const std::byte* from, int64_t count, float* to) {
  if (dtype == DType::kFloat32) return Widen<float>(from, count, to);
  if (dtype == DType::kFloat64) return Widen<double>(from, count, to);
  if (dtype == DType::kBool) return Widen<uint8_t>(from, count, to);
  for (int64_t i = 0; i < count; ++i) {
    Float16 half;
    BFloat16 brain;
    std::memcpy(&half.bits, from + static_cast<size_t>(i) * 2, 2);
    brain.bits = half.bits;
    to[i] = dtype == DType::kFloat16 ? static_cast<float>(half) : static_cast<float>(brain);
  }
}

}  // namespace

absl::StatusOr<TargetArray> TargetArray::Create(StoredArray array, int64_t ignored_label) {
  TargetArray target;
  const bool values = IsFloatingPoint(array.dtype) || array.dtype == DType::kBool;
  Shape shape(array.shape.begin() + 1, array.shape.end());
  if (!values && shape == Shape{1}) shape.clear();
  for (const int64_t extent : shape) target.elements_ *= extent;
  if (target.elements_ == 0) {
    return absl::InvalidArgumentError(absl::StrCat(array.origin, ": '", array.name, "' has shape ",
                                                   ShapeString(array.shape), ", no labels"));
  }
  target.info_ = {array.name, values ? DType::kFloat32 : DType::kInt64, std::move(shape)};
  target.array_ = std::move(array);
  if (!values) DS_RETURN_IF_ERROR(target.CountClasses(ignored_label));
  return target;
}

absl::Status TargetArray::CountClasses(int64_t ignored_label) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  std::vector<int64_t> labels(static_cast<size_t>(elements_));
  for (int64_t row = 0; row < array_.shape[0]; ++row) {
    DS_RETURN_IF_ERROR(
        Read(row, {reinterpret_cast<std::byte*>(labels.data()), labels.size() * sizeof(int64_t)}));
    for (const int64_t label : labels) {
      if (label == ignored_label) continue;
      if (label >= 0 && label < kMost) {
        labels_.Add(label, row);
        continue;
      }
      return absl::DataLossError(absl::StrCat(
          array_.origin, ": '", array_.name, "', sample ", row, ": label ", label,
          " is no class; classes count from 0, and loss.ignore_index is ", ignored_label));
    }
  }
  return absl::OkStatus();
}

absl::Status TargetArray::Read(int64_t row, absl::Span<std::byte> out) const {
  const size_t width = array_.bytes.size() / static_cast<size_t>(array_.shape[0]);
  const std::byte* from = array_.bytes.data() + static_cast<size_t>(row) * width;
  if (info_.dtype == DType::kInt64) {
    ToInt64(array_.dtype, from, elements_, reinterpret_cast<int64_t*>(out.data()));
    return absl::OkStatus();
  }
  float* values = reinterpret_cast<float*>(out.data());
  ToFloats(array_.dtype, from, elements_, values);
  for (int64_t i = 0; i < elements_; ++i) {
    if (std::isfinite(values[i])) continue;
    return absl::DataLossError(absl::StrCat(array_.origin, ": '", array_.name, "', sample ", row,
                                            ": the target ", values[i], " is no finite number"));
  }
  return absl::OkStatus();
}

}  // namespace ds
