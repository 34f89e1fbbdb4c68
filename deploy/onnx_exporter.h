// A quantised ONNX file for ONNX Runtime: integers where it has integer kernels for them, float
// elsewhere, and a report of which is which.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "deploy/insert_qdq.h"
#include "graph/graph.h"
#include "graph/onnx/onnx.h"
#include "quant/quant_plan.h"

namespace ds {

struct OnnxExporterOptions {
  QdqOptions qdq;
  // opset 0: the oldest that has all the graph needs, but not below 17 (int4 and groups of weights
  // need 21, int2 needs 25). Compact, because of a small network's file of 2 to 4 bits names and
  // types would be a fifth.
  OnnxExportOptions onnx = {.opset = 0, .compact = true};
};

struct OnnxExportResult {
  QdqReport report;
  int opset = 0;
  int64_t bytes = 0;  // of the file
};

// Thread-safe.
class OnnxExporter {
 public:
  explicit OnnxExporter(OnnxExporterOptions options = {}) : options_(std::move(options)) {}

  // Writes `path` (beside its final name, then renamed). `graph`: float, batch norms folded.
  // Errors are InsertQdq's and ExportOnnx's; nothing is written then.
  absl::StatusOr<OnnxExportResult> Export(const Graph& graph, const QuantPlan& plan,
                                          const std::string& path) const;
  // The same of a graph in which Q/DQ are placed already (InsertQdq with these options): the
  // result's report is empty.
  absl::StatusOr<OnnxExportResult> Write(const Graph& placed, const std::string& path) const;

 private:
  OnnxExporterOptions options_;
};

}  // namespace ds
