#include "graph/replace_head.h"

#include <cmath>
#include <set>
#include <string>
#include <utility>
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
  std::vector<int> reshapes;  // nodes behind it whose target may name the classes
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
      "Softmax", "LogSoftmax", "Sigmoid",    "Identity",   "Flatten",   "Reshape",
      "Squeeze", "Cast",       "Dropout",    "Relu",       "Unsqueeze", "GlobalAveragePool",
      "Resize",  "Transpose",  "ReduceMean", "AveragePool"};
  return ops.contains(op);
}

// Div, Mul, Add or Sub with one constant number, a temperature say; which input that leaves, -1 for
// other nodes.
int ScaledInput(const Graph& graph, const Node& node) {
  if (node.op != "Div" && node.op != "Mul" && node.op != "Add" && node.op != "Sub") return -1;
  for (const int constant : {1, 0}) {
    const Tensor* number = graph.Constant(node.inputs[static_cast<size_t>(constant)]);
    if (number == nullptr || number->num_elements() != 1) continue;
    // One number in a vector may be a bias, of a single class.
    const bool may_be_bias = node.op == "Add" && number->rank() == 1;
    if (!may_be_bias) return 1 - constant;
  }
  return -1;
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
    if (const int scaled = ScaledInput(graph, node); scaled >= 0) {
      id = node.inputs[static_cast<size_t>(scaled)];
      continue;
    }
    if (node.op == "Add" && added == kNoValue) {
      const int constant = IsVector(graph, node.inputs[0]) ? 0 : 1;
      added = node.inputs[constant];
      id = node.inputs[1 - constant];
      if (IsVector(graph, added)) continue;
    } else if (IsPassedOver(node.op)) {
      if (node.op == "Reshape") head.reshapes.push_back(index);
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

// A Reshape's written-out classes become the new ones. The target may have other readers, so it
// gets an initialiser of its own. InvalidArgument where it is not clear which extent that is.
absl::Status ReshapeTo(Graph& graph, int index, int64_t old_classes, int64_t classes) {
  const Node& node = graph.nodes()[static_cast<size_t>(index)];
  const Tensor* target = node.inputs.size() > 1 ? graph.Constant(node.inputs[1]) : nullptr;
  if (target == nullptr || target->dtype() != DType::kInt64) return absl::OkStatus();
  Tensor changed = target->Clone();
  int named = 0;
  for (int64_t& extent : changed.mutable_span<int64_t>()) {
    if (extent != old_classes) continue;
    extent = classes;
    ++named;
  }
  if (named == 0) return absl::OkStatus();
  if (named > 1) {
    return NoHead(graph, absl::StrCat("the target of node '", node.name, "' names ", old_classes,
                                      " twice, and which of them are the classes is not clear"));
  }
  const std::string name = node.name + ".classes";
  graph.mutable_nodes()[static_cast<size_t>(index)].inputs[1] =
      graph.AddInitializer(name, std::move(changed), /*trainable=*/false);
  return absl::OkStatus();
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
  absl::Status status;
  for (const int index : head.reshapes) {
    status.Update(ReshapeTo(graph, index, old_classes, classes));
  }
  status.Update(InferShapes(graph));
  if (status.ok()) return status;
  graph = before;
  return NoHead(graph, absl::StrCat("with ", classes, " classes, ", std::string(status.message())));
}

}  // namespace ds
