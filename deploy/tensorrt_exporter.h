// A quantised ONNX file for TensorRT, with what is needed to build and to judge it.
//
// - Activations are int8 with zero point 0, one positive constant scale each, and have Q/DQ only
//   where an INT8 operator reads them: the operands of Conv, Gemm and MatMul, what average pools
//   read and write, the residual operand of an Add. The convolution whose result an Add takes has
//   no pair of its own, so that both become one kernel.
// - Weights are constant codes behind a DequantizeLinear: int8 with scales along the outputs; of
//   Gemm and MatMul with 4 bits or fewer int4, weight-only, a scale an output or a group (opset
//   21). A convolution's codes of fewer than 8 bits are kept in int8.
// - Biases stay float. Clamps stay nodes: TensorRT fuses them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/tensorrt/lint.h"
#include "deploy/tensorrt/recipe.h"
#include "graph/graph.h"
#include "graph/onnx/onnx.h"
#include "quant/quant_plan.h"

namespace ds {

struct TensorRTExporterOptions {
  // opset 0: the oldest that has all the graph needs, but not below 17 (int4 needs 21). TensorRT's
  // reports are by layer: names are kept unless the file must be small.
  OnnxExportOptions onnx = {.opset = 0};
  TrtBatches batches;
};

struct TensorRTExportResult {
  TrtLint lint;
  int opset = 0;
  int64_t bytes = 0;        // of the ONNX file
  std::string recipe_path;  // <stem>.trtexec.sh
  std::string lint_path;    // <stem>.trt-lint.txt
};

// Thread-safe.
class TensorRTExporter {
 public:
  explicit TensorRTExporter(TensorRTExporterOptions options = {}) : options_(std::move(options)) {}

  // Writes `path` and beside it the recipe and the lint's text. `graph`: float, batch norms folded;
  // `plan`: with symmetric activations (QuantizerOptions::symmetric_activations). Errors are
  // InsertQdq's, TrtRecipe's and ExportOnnx's; nothing is written then.
  absl::StatusOr<TensorRTExportResult> Export(const Graph& graph, const QuantPlan& plan,
                                              const std::string& path) const;
  // The same of a graph in which Q/DQ are placed already (InsertQdq for kTensorRT).
  absl::StatusOr<TensorRTExportResult> Write(const Graph& placed, const std::string& path) const;

 private:
  TensorRTExporterOptions options_;
};

}  // namespace ds
