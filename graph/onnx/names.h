// Names of values in a protobuf graph, for rewrites that copy nodes from one place to another.
#pragma once

#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

using Renames = absl::flat_hash_map<std::string, std::string>;

// The names of a graph's own values, without those of its subgraphs.
class Names {
 public:
  explicit Names(const onnx::GraphProto& graph);

  // `wanted` if it is free, else with a number behind it; taken from then on.
  std::string Fresh(const std::string& wanted);
  bool IsTaken(const std::string& name) const { return taken_.contains(name); }

 private:
  absl::flat_hash_set<std::string> taken_;
  absl::flat_hash_map<std::string, int> next_;
};

// Inputs and outputs of `node`, and in its subgraphs what they read from outside. Absent operands
// and names that `renames` lacks stay.
void RenameNode(const Renames& renames, onnx::NodeProto& node);

// The subgraph that attribute `name` holds, or nullptr.
const onnx::GraphProto* Subgraph(const onnx::NodeProto& node, const std::string& name);

}  // namespace ds::onnx_io
