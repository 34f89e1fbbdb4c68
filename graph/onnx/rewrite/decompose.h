// Writes a graph in the operators that an opset has: the reverse of the importer's normalisation,
// for export.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds::onnx_io {

inline constexpr int kOldestExportOpset = 13;
inline constexpr int kNewestExportOpset = 28;

// A graph of the same results, inputs, outputs and value names in which what `opset` lacks, and a
// few operators express, is expressed by them. The rest may need a later opset: see opset.h.
absl::StatusOr<Graph> DecomposeForOpset(const Graph& graph, int opset);

// Attributes that `opset` wants as inputs, and the reverse. The graph's schema is that of opset 17:
// after this the graph can be written, not inferred.
void UseNewForms(Graph& graph, int opset);

}  // namespace ds::onnx_io
