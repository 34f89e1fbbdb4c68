#include "graph/onnx/proto.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace ds::onnx_io {
namespace {

constexpr std::pair<int, DType> kTypes[] = {
    {kFloat, DType::kFloat32},  {kUint8, DType::kUInt8},    {kInt8, DType::kInt8},
    {kUint16, DType::kUInt16},  {kInt16, DType::kInt16},    {kInt32, DType::kInt32},
    {kInt64, DType::kInt64},    {kBool, DType::kBool},      {kFloat16, DType::kFloat16},
    {kDouble, DType::kFloat64}, {kUint32, DType::kUInt32},  {kUint64, DType::kUInt64},
    {kBfloat16, DType::kBFloat16}, {kUint4, DType::kUInt4}, {kInt4, DType::kInt4},
    {kUint2, DType::kUInt2},    {kInt2, DType::kInt2},
};

}  // namespace

absl::StatusOr<DType> DTypeFromOnnx(int data_type) {
  for (const auto& [onnx, dtype] : kTypes) {
    if (onnx == data_type) return dtype;
  }
  return absl::UnimplementedError(
      absl::StrCat("element type ", data_type, data_type == kString ? " (string)" : "",
                   " is not supported; supported are float, float16, bfloat16, double, bool and the "
                   "integers of 2 to 64 bits"));
}

int DTypeToOnnx(DType dtype) {
  for (const auto& [onnx, ours] : kTypes) {
    if (ours == dtype) return onnx;
  }
  DS_CHECK(false) << "a DType without ONNX counterpart";
  return 0;
}

std::string Quoted(absl::string_view name) {
  constexpr size_t kLongest = 80;
  const bool cut = name.size() > kLongest;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kLongest)), cut ? "...\"" : "\"");
}

}  // namespace ds::onnx_io
