#include "deploy/trt_exporter.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/status.h"
#include "deploy/onnx_opset.h"
#include "deploy/qdq.h"
#include "graph/onnx/onnx.h"

namespace ds {

absl::StatusOr<TensorRTExportResult> TensorRTExporter::Export(const Graph& graph,
                                                              const QuantPlan& plan,
                                                              const std::string& path) const {
  TensorRTExportResult result;
  DS_ASSIGN_OR_RETURN(const Graph quantised,
                      InsertQdq(graph, plan, {.profile = QdqProfile::kTensorRT}));
  result.lint = LintForTensorRT(quantised);
  result.opset = options_.opset != 0 ? options_.opset : OldestOpsetFor(quantised);
  DS_ASSIGN_OR_RETURN(const std::string bytes,
                      ExportOnnxToBytes(quantised, {.opset = result.opset,
                                                    .compact = options_.compact,
                                                    .producer_name = options_.producer_name}));
  result.bytes = static_cast<int64_t>(bytes.size());
  const std::string file = path.substr(path.rfind('/') + 1);
  DS_ASSIGN_OR_RETURN(const std::string recipe, TrtRecipe(quantised, file, options_.batches));
  const std::string stem(absl::StripSuffix(path, ".onnx"));
  result.recipe_path = absl::StrCat(stem, ".trtexec.sh");
  result.lint_path = absl::StrCat(stem, ".trt-lint.txt");
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, bytes));
  DS_RETURN_IF_ERROR(WriteFileAtomically(result.recipe_path, recipe));
  DS_RETURN_IF_ERROR(WriteFileAtomically(result.lint_path, LintText(result.lint)));
  return result;
}

}  // namespace ds
