// ONNX in and out. Import takes opset 7 to the newest that the bundled onnx.proto knows and brings
// every node to the graph's own form (opset 17 semantics); export writes opset 17 (or the one asked
// for), or the least later one that holds what is in the graph.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace ds {

struct OnnxExportOptions {
  // 13..28: the opset of the file, where it has all that is in the graph, and otherwise the least
  // later one that has.
  int opset = 17;
  // The smallest file: values between get short names and no types, nodes get no names, attributes
  // at their defaults are left out. What is computed stays the same, and so do the names of inputs
  // and outputs.
  bool compact = false;
  // Choices between two computed branches are written as If, so that only one runs, where a branch
  // is worth it (rewrite/branches.h). The importer makes Where of them again.
  bool branches = true;
  std::string producer_name = "downstream";
};

struct OnnxImportOptions {
  // False: large weights have type and shape, and zeros that take no memory; to describe a model.
  bool read_weights = true;
  // Receives one sentence for each kind of thing that the graph does otherwise than the file says.
  std::vector<std::string>* notes = nullptr;
  // Extents of inputs by name that the file leaves open: a fixed size, or kDynamicDim to leave one
  // so. What depends on them alone is then computed, and branches on them decided.
  std::map<std::string, Shape> input_shapes;
  // Values of inputs by name, for those that are the same at every run: one for all elements, or
  // as many as it has. The input becomes a constant, and branches that depend on it are decided.
  std::map<std::string, std::vector<double>> input_values;
};

// Reads a model. Errors: NotFound (file), InvalidArgument (not ONNX, damaged, shapes that do not
// fit; says where), Unimplemented for an op that is not supported: names op, node and file, and
// what is supported that is called alike. Initialisers kept in other files are read only from the
// model's own folder (no "..", no absolute path, no symbolic link that leaves it but for the blobs
// of a download cache).
absl::StatusOr<Graph> ImportOnnx(const std::string& path, const OnnxImportOptions& options = {});
// The same from memory; external data is refused. `origin` stands for the file in messages.
absl::StatusOr<Graph> ImportOnnxFromBytes(absl::string_view bytes, absl::string_view origin,
                                          const OnnxImportOptions& options = {});

// `written_opset`, if given, receives the file's opset. Unimplemented where no opset has what a
// node needs.
absl::StatusOr<std::string> ExportOnnxToBytes(const Graph& graph,
                                              const OnnxExportOptions& options = {},
                                              int* written_opset = nullptr);
// Written beside its final name and renamed.
absl::Status ExportOnnx(const Graph& graph, const std::string& path,
                        const OnnxExportOptions& options = {});

}  // namespace ds
