#include "graph/onnx/rewrite/trained/trainable.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "graph/onnx/rewrite/trained/own_names.h"
#include "graph/passes/derived.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

// Steps back from an affine to its layer; BatchNorm's and GroupNorm's are a few nodes away.
constexpr int kMostSteps = 12;
// Nodes of a branch, from a residual addition back to where it forks.
constexpr size_t kMostBranchNodes = 64;

bool IsIn(const std::string& op, std::initializer_list<const char*> ops) {
  return std::find(ops.begin(), ops.end(), op) != ops.end();
}

bool IsArithmetic(const std::string& op) { return IsIn(op, {"Add", "Sub", "Mul", "Div"}); }

bool IsQuantization(const std::string& op) {
  return IsIn(op, {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLSTM"});
}

bool IsNorm(const std::string& op) { return op.ends_with("Normalization"); }

bool IsSlot(const Node& node, size_t slot) {
  const OpSchema* schema = FindSchema(node.op);
  return schema != nullptr &&
         std::count(schema->parameter_inputs.begin(), schema->parameter_inputs.end(),
                    static_cast<int>(slot)) > 0;
}

// Whether the elements of input `slot` are part of the result, with a gradient; not where they only
// say how (sizes, limits, comparisons).
bool TakesData(const Node& node, size_t slot) {
  if (IsArithmetic(node.op) || IsIn(node.op, {"Concat", "Max", "Min", "Pow", "Sum", "Mean",
                                              "MatMul", "Gemm", "Einsum", "PRelu"})) {
    return true;
  }
  if (node.op == "Where") return slot > 0;
  return slot == 0 &&
         !IsIn(node.op, {"Shape", "Size", "Range", "ConstantOfShape", "OneHot", "Equal", "Less",
                         "LessOrEqual", "Greater", "GreaterOrEqual", "ArgMax", "ArgMin", "NonZero",
                         "Round", "Floor", "Ceil", "Sign"});
}

// At most one extent that is not 1.
bool IsVector(const Tensor& tensor) {
  return tensor.num_elements() > 1 &&
         std::count(tensor.shape().begin(), tensor.shape().end(), tensor.num_elements()) == 1;
}

template <typename T>
bool AllOnesOrZeros(absl::Span<const T> values) {
  return !values.empty() && (values[0] == T{0} || values[0] == T{1}) &&
         std::all_of(values.begin(), values.end(), [&](T x) { return x == values[0]; });
}

bool IsOnesOrZeros(const Tensor& tensor) {
  if (tensor.dtype() == DType::kFloat64) return AllOnesOrZeros(tensor.span<double>());
  return tensor.dtype() == DType::kFloat32 && AllOnesOrZeros(tensor.span<float>());
}

// Why an initialiser may train: as a layer's weight, as a vector on its channels, or by name alone.
enum class Role { kWeight, kVector, kNone };

class Marker {
 public:
  Marker(Graph& graph, const TrainableOptions& options)
      : graph_(graph), options_(options), depends_(DependOnInputs(graph)), uses_(graph) {}

  void Run() {
    for (const Node& node : graph_.nodes()) {
      if (IsQuantization(node.op)) continue;
      const bool runs = std::any_of(node.outputs.begin(), node.outputs.end(),
                                    [this](ValueId id) { return id != kNoValue && depends_[id]; });
      if (!runs) continue;  // reached from what reads it
      for (size_t slot = 0; slot < node.inputs.size(); ++slot) MarkInput(node, slot);
      if (node.op == "Add" && node.inputs.size() == 2) {
        MarkLayerScale(node.inputs[0], node.inputs[1]);
        MarkLayerScale(node.inputs[1], node.inputs[0]);
      }
    }
    for (const Node& node : graph_.nodes()) {
      if (IsQuantization(node.op)) Freeze(node);
    }
  }

 private:
  void MarkInput(const Node& node, size_t slot) {
    const ValueId id = node.inputs[slot];
    if (id == kNoValue || depends_[id] || !IsFloatingPoint(graph_.value(id).dtype)) return;
    if (IsSlot(node, slot)) {
      if (IsNorm(node.op) && IsFiller(id)) return;
      Mark(id, Role::kWeight);
    } else if (IsAffine(node, slot)) {
      Mark(id, Role::kVector);
    } else if (TakesData(node, slot)) {
      Mark(id, Role::kNone);
    }
  }

  // x + scale * branch(x), a scale a channel (Touvron et al. 2021, LayerScale): `skip` is x. The
  // branch need not end in a layer: it is a pool in PoolFormer.
  void MarkLayerScale(ValueId skip, ValueId scaled) {
    const Node* mul = uses_.Producer(scaled, "Mul");
    if (mul == nullptr || !depends_[skip]) return;
    for (size_t slot = 0; slot < 2; ++slot) {
      const ValueId id = mul->inputs[slot];
      const Tensor* tensor = graph_.Constant(id);
      if (tensor == nullptr || !IsVector(*tensor) || !IsFloatingPoint(tensor->dtype())) continue;
      if (!IsNamedBuffer(id) && FollowsFrom(mul->inputs[1 - slot], skip)) Mark(id, Role::kVector);
    }
  }

  // Whether `value` is computed from `source`, a few nodes before it.
  bool FollowsFrom(ValueId value, ValueId source) const {
    std::vector<ValueId> open = {value};
    std::set<ValueId> seen;
    while (!open.empty() && seen.size() < kMostBranchNodes) {
      const ValueId id = open.back();
      open.pop_back();
      if (id == source) return true;
      const int index = id == kNoValue || !depends_[id] ? -1 : uses_.ProducerIndex(id);
      if (index < 0 || !seen.insert(id).second) continue;
      for (const ValueId input : graph_.nodes()[index].inputs) open.push_back(input);
    }
    return false;
  }

  bool IsNamedBuffer(ValueId id) const {
    return !options_.unnamed.contains(id) && IsBufferName(graph_.value(id).name);
  }

  // What an exporter puts where a norm has no affine.
  bool IsFiller(ValueId id) const {
    const Tensor* tensor = graph_.Constant(id);
    const bool made_up = options_.unnamed.contains(id) || IsMadeUpName(graph_.value(id).name);
    return tensor != nullptr && made_up && IsOnesOrZeros(*tensor);
  }

  bool HasOwnName(ValueId id) const {
    return !options_.unnamed.contains(id) &&
           IsParameterName(graph_.value(id).name, graph_.Constant(id)->num_elements() == 1);
  }

  bool IsAffine(const Node& node, size_t slot) const {
    if (!IsArithmetic(node.op) || node.inputs.size() != 2) return false;
    const Tensor* tensor = graph_.Constant(node.inputs[slot]);
    if (tensor == nullptr || !IsVector(*tensor)) return false;
    return !IsNamedBuffer(node.inputs[slot]) && LeadsToLayer(node.inputs[1 - slot]);
  }

  // Back through vectors put on it before and through other views of it.
  bool LeadsToLayer(ValueId id) const {
    for (int step = 0; step < kMostSteps; ++step) {
      const int index = id == kNoValue || !depends_[id] ? -1 : uses_.ProducerIndex(id);
      if (index < 0) return false;
      const Node& node = graph_.nodes()[index];
      if (IsLayer(node)) return true;
      if (IsArithmetic(node.op) && node.inputs.size() == 2) {
        const bool first = depends_[node.inputs[0]], second = depends_[node.inputs[1]];
        if (first && second) return IsDecomposedNorm(node);
        id = node.inputs[first ? 0 : 1];
      } else if (IsIn(node.op, {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Cast",
                                "Identity", "Dropout"})) {
        id = node.inputs[0];
      } else {
        return false;
      }
    }
    return false;
  }

  bool IsLayer(const Node& node) const {
    if (node.op == "Gather") return false;
    if (IsNorm(node.op)) return true;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      const ValueId id = node.inputs[slot];
      if (id != kNoValue && IsSlot(node, slot) && !depends_[id]) return true;
    }
    return false;
  }

  // (x - mean) / sqrt(variance), as exporters write LayerNorm in nodes.
  bool IsDecomposedNorm(const Node& node) const {
    if (node.op == "Div") return uses_.Producer(node.inputs[1], "Sqrt") != nullptr;
    if (node.op != "Mul") return false;
    return std::any_of(node.inputs.begin(), node.inputs.end(),
                       [this](ValueId id) { return uses_.Producer(id, "Reciprocal") != nullptr; });
  }

  // The initialisers that value `id`, which follows from initialisers alone, is made of.
  void Mark(ValueId id, Role role) {
    if (id == kNoValue || !seen_.insert({id, role}).second) return;
    if (graph_.IsInitializer(id)) {
      MarkInitializer(id, role);
      return;
    }
    const int index = uses_.ProducerIndex(id);
    if (index < 0) return;
    const Node& node = graph_.nodes()[index];
    if (IsQuantization(node.op)) return;
    // One number for all channels is what an exporter writes where a layer has no bias; a parameter
    // of one element says so by its name.
    if (IsIn(node.op, {"Expand", "Tile"}) && Elements(node.inputs[0]) == 1) role = Role::kNone;
    const bool all = IsIn(node.op, {"Concat", "MatMul", "Gemm", "Einsum"});
    const size_t main = MainOperand(node);
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (IsInnerParameter(node, slot)) {
        Mark(node.inputs[slot], Role::kWeight);
      } else if (slot == main || TakesData(node, slot) || IsSlot(node, slot)) {
        Mark(node.inputs[slot], all || slot == main ? role : Role::kNone);
      }
    }
  }

  // Parameters of layers that run on constants: a norm that standardises a weight (its gain, not
  // the ones and zeros it may have instead), a small network that makes position biases of
  // coordinates (Liu et al. 2022, Swin V2). An outer product, as of rotary frequencies and
  // positions, is no layer.
  bool IsInnerParameter(const Node& node, size_t slot) const {
    const ValueId id = slot < node.inputs.size() ? node.inputs[slot] : kNoValue;
    if (slot == 0 || id == kNoValue) return false;
    if (node.op == "Mul") return IsGain(node, id);
    const Tensor* tensor = graph_.Constant(id);
    if (!IsSlot(node, slot)) return false;
    if (IsNorm(node.op)) return tensor == nullptr || !IsOnesOrZeros(*tensor) || HasOwnName(id);
    if (node.op == "Conv") return true;
    if (node.op != "MatMul" && node.op != "Gemm") return false;
    const auto& shape = graph_.value(node.inputs[1]).shape;
    return shape && shape->size() == 2 && std::min((*shape)[0], (*shape)[1]) > 1;
  }

  // Of a norm that import has taken apart, where the vector may lie behind views of it.
  bool IsGain(const Node& mul, ValueId id) const {
    const int index = uses_.ProducerIndex(mul.inputs[0]);
    if (index < 0 || !IsDecomposedNorm(graph_.nodes()[index])) return false;
    while (graph_.Constant(id) == nullptr) {
      const int view = uses_.ProducerIndex(id);
      if (view < 0) return false;
      const Node& node = graph_.nodes()[view];
      if (!IsIn(node.op, {"Reshape", "Unsqueeze", "Cast", "Identity"})) return false;
      id = node.inputs[0];
    }
    const Tensor& tensor = *graph_.Constant(id);
    return IsVector(tensor) && !IsOnesOrZeros(tensor);
  }

  // Of a weight and a scale or a mask: the weight.
  size_t MainOperand(const Node& node) const {
    if (!IsArithmetic(node.op) || node.inputs.size() != 2) return 0;
    const int64_t first = Elements(node.inputs[0]), second = Elements(node.inputs[1]);
    if (first != second) return first > second ? 0 : 1;
    const bool named = graph_.IsInitializer(node.inputs[1]) && HasOwnName(node.inputs[1]);
    const bool first_named = !graph_.IsInitializer(node.inputs[0]) || HasOwnName(node.inputs[0]);
    return named && !first_named ? 1 : 0;
  }

  int64_t Elements(ValueId id) const {
    const auto& shape = graph_.value(id).shape;
    return shape ? NumElements(*shape).value_or(0) : 0;
  }

  void MarkInitializer(ValueId id, Role role) {
    Initializer& initializer = graph_.mutable_initializers().at(id);
    if (initializer.trainable || !IsFloatingPoint(initializer.data.dtype())) return;
    if (IsEmittedName(graph_.value(id).name)) return;  // a transform's cosines, say
    // Frequencies and windows are multiplied as weights are, and stay as they are.
    if (role == Role::kWeight && !options_.unnamed.contains(id) &&
        IsBufferOfModule(graph_.value(id).name)) {
      return;
    }
    // A layer's weight that is not finite is refused by name (finite_weights.h), not left alone.
    if (role == Role::kWeight ||
        ((role == Role::kVector || HasOwnName(id)) && options_.all_finite(id))) {
      initializer.trainable = true;
    }
  }

  // Scales, also where another node reads them too.
  void Freeze(const Node& node) {
    for (const ValueId id : node.inputs) {
      auto it = graph_.mutable_initializers().find(id);
      if (it != graph_.mutable_initializers().end()) it->second.trainable = false;
    }
  }

  Graph& graph_;
  const TrainableOptions& options_;
  const std::vector<bool> depends_;
  const Uses uses_;
  std::set<std::pair<ValueId, Role>> seen_;
};

}  // namespace

absl::Status MarkTrainable(Graph& graph, const TrainableOptions& options) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  Marker(graph, options).Run();
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
