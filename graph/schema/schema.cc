#include "graph/schema/schema.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/schema/internal.h"
#include "graph/schema/known_ints.h"
#include "graph/schema/nearest_ops.h"

namespace ds {

namespace {

// Keeps every sum and product of two extents far from overflow, whatever a file claims.
constexpr int64_t kMaxExtent = int64_t{1} << 40;

std::vector<OpSchema> MakeTable() {
  schema::Table table;
  schema::AddActivations(table);
  schema::AddArithmetic(table);
  schema::AddLinear(table);
  schema::AddNormalization(table);
  schema::AddPooling(table);
  schema::AddReductions(table);
  schema::AddLogic(table);
  schema::AddGroupNormalization(table);
  schema::AddArrangement(table);
  schema::AddReshaping(table);
  schema::AddIndexing(table);
  schema::AddSpatial(table);
  schema::AddConstants(table);
  schema::AddQuantization(table);
  schema::AddRecurrent(table);
  schema::AddConvTranspose(table);
  schema::AddScatter(table);
  schema::AddEinsum(table);
  schema::AddDetection(table);
  std::sort(table.begin(), table.end(),
            [](const OpSchema& a, const OpSchema& b) { return a.name < b.name; });
  return table;
}

const std::vector<OpSchema>& SchemaTable() {
  static const auto& table = *new std::vector<OpSchema>(MakeTable());
  return table;
}

absl::Status CheckExtents(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  for (int64_t extent : shape) {
    if (extent == kDynamicDim) continue;
    if (extent < 0 || extent > kMaxExtent) {
      return absl::InvalidArgumentError(absl::StrCat("gives the extent ", extent, " in shape ",
                                                     ShapeString(shape),
                                                     ", outside 0 to 2^40; make the input fit"));
    }
    if (__builtin_mul_overflow(product, std::max<int64_t>(extent, 1), &product)) {
      return absl::InvalidArgumentError(
          absl::StrCat("gives shape ", ShapeString(shape), ", which has over 2^63 elements"));
    }
  }
  return absl::OkStatus();
}

std::string InputShapes(const Graph& graph, const Node& node) {
  std::vector<std::string> parts;
  for (ValueId id : node.inputs) {
    if (id == kNoValue) {
      parts.push_back("(absent)");
      continue;
    }
    const Value& value = graph.value(id);
    parts.push_back(absl::StrCat("'", value.name, "' ", std::string(Name(value.dtype)),
                                 value.shape ? ShapeString(*value.shape) : " of unknown shape"));
  }
  return parts.empty() ? std::string("none") : absl::StrJoin(parts, ", ");
}

}  // namespace

const OpSchema* FindSchema(absl::string_view op) {
  const auto& table = SchemaTable();
  auto it = std::lower_bound(table.begin(), table.end(), op,
                             [](const OpSchema& a, absl::string_view b) { return a.name < b; });
  return it != table.end() && it->name == op ? &*it : nullptr;
}

std::vector<std::string> SupportedOps() {
  std::vector<std::string> names;
  for (const OpSchema& op : SchemaTable()) names.push_back(op.name);
  return names;
}

absl::Status InferShapes(Graph& graph) {
  KnownInts known;
  return InferShapesAndInts(graph, known);
}

absl::Status InferNode(Graph& graph, const Node& node, KnownInts& known) {
  const OpSchema* op = FindSchema(node.op);
  if (op == nullptr) {
    return absl::UnimplementedError(absl::StrCat("op ", node.op, " of node '", node.name,
                                                 "' is not supported", NearestOps(node.op),
                                                 "; build the layer of other operators"));
  }
  const InferenceContext context{graph, node, &known};
  absl::StatusOr<std::vector<InferredValue>> inferred = op->infer(context);
  absl::Status status = inferred.status();
  if (status.ok() && inferred->size() < node.outputs.size()) {
    status = absl::InvalidArgumentError("has more outputs than the operator gives; remove some");
  }
  for (size_t i = 0; status.ok() && i < node.outputs.size(); ++i) {
    status = CheckExtents((*inferred)[i].shape);
  }
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("node '", node.name, "' (", node.op,
                                                   "): ", std::string(status.message()),
                                                   "; its inputs are ", InputShapes(graph, node)));
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i] == kNoValue) continue;
    Value& value = graph.mutable_value(node.outputs[i]);
    value.dtype = (*inferred)[i].dtype;
    value.shape = std::move((*inferred)[i].shape);
  }
  EvaluateKnownInts(context, known);
  return absl::OkStatus();
}

absl::Status StartInference(Graph& graph, KnownInts& known) {
  DS_RETURN_IF_ERROR(graph.Validate());
  for (ValueId id : graph.inputs()) {
    const Value& value = graph.value(id);
    if (!value.shape.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("graph input '", value.name, "' has no shape; give it one with AddInput"));
    }
    absl::Status status = CheckExtents(*value.shape);
    if (!status.ok()) return Annotate(status, absl::StrCat("graph input '", value.name, "'"));
  }
  for (const auto& [id, initializer] : graph.initializers()) {
    graph.mutable_value(id).dtype = initializer.data.dtype();
    graph.mutable_value(id).shape = initializer.data.shape();
    RememberConstant(id, initializer.data, known);
  }
  // The shapes an earlier inference left behind must not be taken for known ones.
  for (const Node& node : graph.nodes()) {
    for (ValueId id : node.outputs) {
      if (id != kNoValue) graph.mutable_value(id).shape.reset();
    }
  }
  return absl::OkStatus();
}

absl::Status InferShapesAndInts(Graph& graph, KnownInts& known) {
  DS_RETURN_IF_ERROR(StartInference(graph, known));
  for (const Node& node : graph.nodes()) DS_RETURN_IF_ERROR(InferNode(graph, node, known));
  return absl::OkStatus();
}

absl::StatusOr<Shape> BroadcastShapes(absl::Span<const int64_t> a, absl::Span<const int64_t> b) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    const int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    int64_t& extent = out[out.size() - 1 - i];
    if (x == 1) {
      extent = y;
    } else if (y == 1 || x == y || y == kDynamicDim) {
      extent = x;
    } else if (x == kDynamicDim) {
      extent = y;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "shapes ", ShapeString(a), " and ", ShapeString(b), " cannot be broadcast together: ", x,
          " and ", y, " differ and neither is 1"));
    }
  }
  return out;
}

absl::StatusOr<Shape> InferenceContext::InputShape(int i) const {
  if (!HasInput(i)) {
    return absl::FailedPreconditionError(absl::StrCat("input ", i, " is absent; connect it"));
  }
  const Value& value = graph.value(node.inputs[i]);
  if (!value.shape.has_value()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the shape of input ", i, " ('", value.name, "') is not known"));
  }
  return *value.shape;
}

bool InferenceContext::HasInput(int i) const {
  return i >= 0 && static_cast<size_t>(i) < node.inputs.size() && node.inputs[i] != kNoValue;
}

DType InferenceContext::InputDType(int i) const { return graph.value(node.inputs.at(i)).dtype; }

}  // namespace ds
