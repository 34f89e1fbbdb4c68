// Stands in where protobuf or onnx-ml.proto was not found when Downstream was built for the edge.
#include "graph/onnx/onnx.h"

namespace ds {
namespace {

absl::Status BuiltWithout() {
  return absl::UnavailableError(
      "built without ONNX: install protobuf and onnx-ml.proto (docs/onnx.md) and build again");
}

}  // namespace

absl::StatusOr<Graph> ImportOnnx(const std::string&, const OnnxImportOptions&) {
  return BuiltWithout();
}
absl::StatusOr<Graph> ImportOnnxFromBytes(absl::string_view, absl::string_view,
                                          const OnnxImportOptions&) {
  return BuiltWithout();
}
absl::StatusOr<std::string> ExportOnnxToBytes(const Graph&, const OnnxExportOptions&, int*) {
  return BuiltWithout();
}
absl::Status ExportOnnx(const Graph&, const std::string&, const OnnxExportOptions&) {
  return BuiltWithout();
}

}  // namespace ds
