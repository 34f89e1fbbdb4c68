#include "deploy/tensorrt_exporter.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file/file.h"
#include "base/status.h"
#include "deploy/insert_qdq.h"
#include "deploy/onnx_opset.h"

namespace ds {

absl::StatusOr<TensorRTExportResult> TensorRTExporter::Export(const Graph& graph,
                                                              const QuantPlan& plan,
                                                              const std::string& path) const {
  DS_ASSIGN_OR_RETURN(const Graph placed,
                      InsertQdq(graph, plan, {.profile = QdqProfile::kTensorRT}));
  return Write(placed, path);
}

absl::StatusOr<TensorRTExportResult> TensorRTExporter::Write(const Graph& placed,
                                                             const std::string& path) const {
  // TensorRT takes no Q/DQ inside an If.
  OnnxExportOptions onnx = options_.onnx;
  onnx.branches = false;
  DS_ASSIGN_OR_RETURN(const OnnxFile file, EncodeOnnx(placed, onnx));
  const std::string name = path.substr(path.rfind('/') + 1);
  DS_ASSIGN_OR_RETURN(const std::string recipe, TrtRecipe(placed, name, options_.batches));
  TensorRTExportResult result;
  result.lint = LintForTensorRT(placed);
  result.opset = file.opset;
  result.bytes = static_cast<int64_t>(file.bytes.size());
  const std::string stem(absl::StripSuffix(path, ".onnx"));
  result.recipe_path = absl::StrCat(stem, ".trtexec.sh");
  result.lint_path = absl::StrCat(stem, ".trt-lint.txt");
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, file.bytes));
  DS_RETURN_IF_ERROR(WriteFileAtomically(result.recipe_path, recipe));
  DS_RETURN_IF_ERROR(WriteFileAtomically(result.lint_path, LintText(result.lint)));
  return result;
}

}  // namespace ds
