#include "graph/onnx/proto.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "graph/schema.h"

namespace ds::onnx_io {

absl::StatusOr<DType> DTypeFromOnnx(int data_type) {
  absl::StatusOr<DType> dtype = DTypeFromOnnxTypeNumber(data_type);
  if (dtype.ok()) return dtype;
  return absl::UnimplementedError(
      absl::StrCat("its element type ", data_type, data_type == kString ? " (string)" : "",
                   " is not supported; supported are float, float16, bfloat16, double, bool and the "
                   "integers of 2 to 64 bits"));
}

std::string Quoted(absl::string_view name) {
  constexpr size_t kLongest = 80;
  const bool cut = name.size() > kLongest;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kLongest)), cut ? "...\"" : "\"");
}

}  // namespace ds::onnx_io
