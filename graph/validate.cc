// Graph::Validate: the checks that every other part relies on.
#include <climits>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/graph.h"
#include "graph/schema/nearest_ops.h"
#include "graph/schema/schema.h"

namespace ds {

namespace {

std::string Where(const Node& node) {
  return absl::StrCat("node '", node.name, "' (", node.op, ")");
}

const char* TypeName(size_t index) {
  static constexpr const char* kNames[] = {"int",  "float",  "string", "tensor",
                                           "ints", "floats", "strings"};
  return kNames[index];
}

absl::Status CheckArity(const Node& node, const OpSchema& schema) {
  const int inputs = static_cast<int>(node.inputs.size());
  const int outputs = static_cast<int>(node.outputs.size());
  if (inputs < schema.min_inputs || inputs > schema.max_inputs) {
    const std::string most =
        schema.max_inputs == INT_MAX ? "any number" : absl::StrCat(schema.max_inputs);
    return absl::InvalidArgumentError(absl::StrCat(Where(node), " has ", inputs, " inputs; ",
                                                   node.op, " takes ", schema.min_inputs, " to ",
                                                   most));
  }
  if (outputs < schema.min_outputs || outputs > schema.max_outputs) {
    return absl::InvalidArgumentError(absl::StrCat(
        Where(node), " has ", outputs, " outputs; ", node.op, " gives ", schema.min_outputs, " to ",
        schema.max_outputs == INT_MAX ? "any number" : absl::StrCat(schema.max_outputs)));
  }
  for (int i = 0; i < schema.min_inputs; ++i) {
    if (node.inputs[i] == kNoValue) {
      return absl::InvalidArgumentError(absl::StrCat(
          Where(node), ": input ", i, " is required but absent; connect a value to it"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAttributes(const Node& node, const OpSchema& schema) {
  for (const auto& [key, held] : node.attributes) {
    const AttributeSchema* known = nullptr;
    for (const AttributeSchema& candidate : schema.attributes) {
      if (candidate.name == key) known = &candidate;
    }
    if (known == nullptr) {
      std::vector<std::string> names;
      for (const AttributeSchema& attribute : schema.attributes) names.push_back(attribute.name);
      return absl::InvalidArgumentError(
          absl::StrCat(Where(node), " has an unknown attribute '", key, "'; ", node.op, " has ",
                       names.empty() ? std::string("none") : absl::StrJoin(names, ", ")));
    }
    // AttributeType lists its kinds in the order of the variant.
    if (held.index() != static_cast<size_t>(known->type)) {
      return absl::InvalidArgumentError(
          absl::StrCat(Where(node), ": attribute '", key, "' is of type ", TypeName(held.index()),
                       "; it must be ", TypeName(static_cast<size_t>(known->type))));
    }
  }
  for (const AttributeSchema& attribute : schema.attributes) {
    if (attribute.required && !node.attributes.contains(attribute.name)) {
      return absl::InvalidArgumentError(absl::StrCat(Where(node), " lacks the attribute '",
                                                     attribute.name,
                                                     "', which has no default; set it"));
    }
  }
  return absl::OkStatus();
}

// What is written already while the nodes are walked in order.
struct Written {
  std::vector<bool> values;
  int64_t count = 0;

  bool InRange(ValueId id) const { return id >= 0 && id < count; }
};

absl::Status CheckEdges(const Graph& graph, const Node& node, Written& written) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId id = node.inputs[i];
    if (id == kNoValue) continue;
    if (!written.InRange(id)) {
      return absl::InvalidArgumentError(absl::StrCat(Where(node), ": input ", i, " has id ", id,
                                                     ", but the graph has values 0 to ",
                                                     written.count - 1, "; make it with AddValue"));
    }
    if (!written.values[id]) {
      return absl::InvalidArgumentError(
          absl::StrCat(Where(node), " reads '", graph.value(id).name,
                       "', which no input, initialiser or earlier node writes; add its producer or "
                       "call SortTopologically"));
    }
  }
  for (ValueId id : node.outputs) {
    if (!written.InRange(id)) {
      return absl::InvalidArgumentError(absl::StrCat(Where(node), " writes a value of id ", id,
                                                     ", but the graph has values 0 to ",
                                                     written.count - 1, "; make it with AddValue"));
    }
    if (written.values[id]) {
      return absl::InvalidArgumentError(
          absl::StrCat(Where(node), " writes '", graph.value(id).name,
                       "', which is written already; each value has one writer, so rename one"));
    }
    written.values[id] = true;
  }
  return absl::OkStatus();
}

absl::Status MarkSources(const Graph& graph, Written& written) {
  for (const auto& [id, initializer] : graph.initializers()) {
    if (!written.InRange(id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("an initialiser has id ", id, ", which the graph does not have"));
    }
    const Value& value = graph.value(id);
    if (initializer.data.dtype() != value.dtype ||
        (value.shape.has_value() && *value.shape != initializer.data.shape())) {
      return absl::InvalidArgumentError(absl::StrCat(
          "initialiser '", value.name, "' holds ", std::string(Name(initializer.data.dtype())),
          ShapeString(initializer.data.shape()), " but its value says ",
          std::string(Name(value.dtype)), value.shape ? ShapeString(*value.shape) : std::string(),
          "; make both the same"));
    }
    written.values[id] = true;
  }
  for (ValueId id : graph.inputs()) {
    if (!written.InRange(id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("a graph input has id ", id, ", which the graph does not have"));
    }
    if (written.values[id]) {
      return absl::InvalidArgumentError(
          absl::StrCat("graph input '", graph.value(id).name,
                       "' is listed twice or is an initialiser too; list it once"));
    }
    written.values[id] = true;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Graph::Validate() const {
  Written written{std::vector<bool>(values_.size(), false), static_cast<int64_t>(values_.size())};
  DS_RETURN_IF_ERROR(MarkSources(*this, written));
  absl::flat_hash_set<std::string> node_names;
  for (const Node& node : nodes_) {
    if (node.name.empty() || !node_names.insert(node.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(Where(node), ": node names must be unique and not empty; rename it"));
    }
    const OpSchema* schema = FindSchema(node.op);
    if (schema == nullptr) {
      return absl::UnimplementedError(absl::StrCat("op ", node.op, " of ", Where(node),
                                                   " is not supported", NearestOps(node.op)));
    }
    DS_RETURN_IF_ERROR(CheckArity(node, *schema));
    DS_RETURN_IF_ERROR(CheckAttributes(node, *schema));
    DS_RETURN_IF_ERROR(CheckEdges(*this, node, written));
  }
  if (outputs_.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("graph '", name, "' has no outputs; mark at least one with MarkOutput"));
  }
  for (ValueId id : outputs_) {
    if (!written.InRange(id) || !written.values[id]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "graph output ", written.InRange(id) ? value(id).name : absl::StrCat("#", id),
          " is written by no node; mark a value that one writes"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ds
