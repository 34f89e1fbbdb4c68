#include "graph/onnx/proto.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {

absl::StatusOr<DType> DTypeFromOnnx(int data_type) {
  absl::StatusOr<DType> dtype = DTypeFromOnnxTypeNumber(data_type);
  if (dtype.ok()) return dtype;
  return absl::UnimplementedError(absl::StrCat(
      "its element type ", data_type, data_type == kString ? " (string)" : "",
      " is not supported; supported are float, float16, bfloat16, double, bool and the "
      "integers of 2 to 64 bits"));
}

std::string Quoted(absl::string_view name) {
  constexpr size_t kLongest = 80;
  const bool cut = name.size() > kLongest;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(name.substr(0, kLongest)), cut ? "...\"" : "\"");
}

std::string Printable(absl::string_view message) {
  constexpr size_t kLongest = 4000;
  std::string printable;
  for (const char c : message.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppend(&printable, "\\x", absl::Hex(byte, absl::kZeroPad2));
    } else {
      printable += c;
    }
  }
  return message.size() > kLongest ? printable + "..." : printable;
}

}  // namespace ds::onnx_io
