#include "graph/replace_head.h"

#include <cmath>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/initialization.h"
#include "graph/schema/schema.h"

namespace ds {

namespace {

// The weights that give the classes, and on which of their axes those are.
struct Head {
  ValueId weight = kNoValue;
  int class_axis = 0;
  ValueId bias = kNoValue;
};

absl::Status NoHead(const Graph& graph, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("cannot replace the classifier that computes output '",
                   graph.value(graph.outputs().front()).name, "': ", why,
                   "; train with the model's own number of classes, or change its last layer and "
                   "export it again"));
}

bool IsPassedOver(const std::string& op) {
  static const auto& ops = *new std::set<std::string>{
      "Softmax",   "LogSoftmax",        "Sigmoid",   "Identity", "Flatten",
      "Reshape",   "Squeeze",           "Cast",      "Dropout",  "Unsqueeze",
      "Transpose", "GlobalAveragePool", "ReduceMean"};
  return ops.contains(op);
}

bool IsVector(const Graph& graph, ValueId id) {
  const Tensor* tensor = graph.Constant(id);
  return tensor != nullptr && tensor->rank() == 1;
}

// Fills in `head` if `node` is such a layer.
bool ReadLayer(const Graph& graph, const Node& node, Head& head) {
  if (node.op != "Gemm" && node.op != "MatMul" && node.op != "Conv") return false;
  const Tensor* weight = graph.Constant(node.inputs[1]);
  if (weight == nullptr || weight->dtype() != DType::kFloat32) return false;
  head.weight = node.inputs[1];
  if (node.op == "Conv") {
    const bool pointwise = weight->num_elements() == weight->dim(0) * weight->dim(1);
    head.class_axis = 0;
    head.bias = node.inputs.size() > 2 ? node.inputs[2] : kNoValue;
    return pointwise && node.GetInt("group", 1) == 1;
  }
  if (weight->rank() != 2) return false;
  head.class_axis = node.GetInt("transB", 0) != 0 ? 0 : 1;
  if (node.op == "Gemm" && node.inputs.size() > 2) head.bias = node.inputs[2];
  return true;
}

absl::StatusOr<Head> FindHead(const Graph& graph) {
  if (graph.outputs().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("cannot replace the classifier of graph '",
                                                   graph.name, "': it has ", graph.outputs().size(),
                                                   " outputs, and a classifier has one"));
  }
  ValueId id = graph.outputs().front();
  Head head;
  ValueId added = kNoValue;
  for (int index = graph.Producer(id); index >= 0; index = graph.Producer(id)) {
    const Node& node = graph.nodes()[index];
    if (ReadLayer(graph, node, head)) {
      if (head.bias == kNoValue) head.bias = added;
      if (head.bias != kNoValue && !IsVector(graph, head.bias)) {
        return NoHead(graph,
                      absl::StrCat("the bias of node '", node.name, "' is no constant vector"));
      }
      return head;
    }
    if (node.op == "Add" && added == kNoValue) {
      const int constant = IsVector(graph, node.inputs[0]) ? 0 : 1;
      added = node.inputs[constant];
      id = node.inputs[1 - constant];
      if (IsVector(graph, added)) continue;
    } else if (IsPassedOver(node.op)) {
      id = node.inputs[0];
      continue;
    }
    return NoHead(graph, absl::StrCat("node '", node.name, "' (", node.op,
                                      ") is neither Gemm, MatMul nor a 1x1 Conv with constant "
                                      "weights, nor one of the operators that may follow these"));
  }
  return NoHead(graph, "no layer with weights leads to it");
}

void Renew(Graph& graph, ValueId id, int axis, int64_t classes, int64_t fan_in, uint64_t seed) {
  Initializer& initializer = graph.mutable_initializers().at(id);
  Shape shape = initializer.data.shape();
  shape[axis] = classes;
  const double bound = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(fan_in, 1)));
  Value& value = graph.mutable_value(id);
  initializer = {.data = UniformWeights(shape, bound, seed, value.name), .trainable = true};
  value.dtype = DType::kFloat32;
  value.shape = std::move(shape);
}

}  // namespace

absl::Status ReplaceClassifier(Graph& graph, int64_t classes, uint64_t seed) {
  if (classes < 1 || classes > (int64_t{1} << 22)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a classifier of ", classes, " classes; it must be 1 to 4194304"));
  }
  DS_ASSIGN_OR_RETURN(const Head head, FindHead(graph));
  const Tensor& weight = *graph.Constant(head.weight);
  const int64_t old_classes = weight.dim(head.class_axis);
  if (old_classes == classes) return absl::OkStatus();
  if (graph.Consumers(head.weight).size() != 1) {
    return NoHead(graph, absl::StrCat("its weight '", graph.value(head.weight).name,
                                      "' is used elsewhere too"));
  }
  if (head.bias != kNoValue && graph.Constant(head.bias)->dim(0) != old_classes) {
    return NoHead(graph, absl::StrCat("its bias '", graph.value(head.bias).name,
                                      "' does not have one number a class"));
  }
  const Graph before = graph;
  const int64_t fan_in = old_classes == 0 ? 0 : weight.num_elements() / old_classes;
  Renew(graph, head.weight, head.class_axis, classes, fan_in, seed);
  if (head.bias != kNoValue) Renew(graph, head.bias, 0, classes, fan_in, seed);
  const absl::Status status = InferShapes(graph);
  if (status.ok()) return status;
  graph = before;
  return NoHead(graph, absl::StrCat("with ", classes, " classes, ", std::string(status.message())));
}

}  // namespace ds
