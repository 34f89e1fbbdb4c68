#include "graph/onnx/names.h"

#include "absl/strings/str_cat.h"

namespace ds::onnx_io {
namespace {

void RenameSubgraph(const Renames& renames, onnx::GraphProto& graph) {
  Renames visible = renames;  // what the subgraph defines itself hides what is outside
  for (const auto& input : graph.input()) visible.erase(input.name());
  for (const auto& initializer : graph.initializer()) visible.erase(initializer.name());
  for (const auto& node : graph.node()) {
    for (const std::string& output : node.output()) visible.erase(output);
  }
  for (auto& node : *graph.mutable_node()) RenameNode(visible, node);
  for (auto& output : *graph.mutable_output()) {
    if (auto it = visible.find(output.name()); it != visible.end()) output.set_name(it->second);
  }
}

}  // namespace

Names::Names(const onnx::GraphProto& graph) {
  for (const auto& input : graph.input()) taken_.insert(input.name());
  for (const auto& initializer : graph.initializer()) taken_.insert(initializer.name());
  for (const auto& node : graph.node()) {
    for (const std::string& output : node.output()) taken_.insert(output);
  }
}

std::string Names::Fresh(const std::string& wanted) {
  std::string name = wanted;
  while (!taken_.insert(name).second) name = absl::StrCat(wanted, "_", ++next_[wanted]);
  return name;
}

void RenameNode(const Renames& renames, onnx::NodeProto& node) {
  for (auto* names : {node.mutable_input(), node.mutable_output()}) {
    for (std::string& name : *names) {
      if (auto it = renames.find(name); it != renames.end()) name = it->second;
    }
  }
  for (auto& attribute : *node.mutable_attribute()) {
    if (attribute.has_g()) RenameSubgraph(renames, *attribute.mutable_g());
    for (auto& graph : *attribute.mutable_graphs()) RenameSubgraph(renames, graph);
  }
}

const onnx::GraphProto* Subgraph(const onnx::NodeProto& node, const std::string& name) {
  for (const auto& attribute : node.attribute()) {
    if (attribute.name() == name && attribute.has_g()) return &attribute.g();
  }
  return nullptr;
}

}  // namespace ds::onnx_io
