#include "graph/onnx/rewrite/trainable.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "graph/onnx/rewrite/own_names.h"
#include "graph/passes/derived.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

// Steps back from an affine to its layer; BatchNorm's and GroupNorm's are a few nodes away.
constexpr int kMostSteps = 12;

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

bool IsOnesOrZeros(const Tensor& tensor) {
  if (tensor.dtype() != DType::kFloat32 || tensor.num_elements() == 0) return false;
  const absl::Span<const float> values = tensor.span<float>();
  return (values[0] == 0.0F || values[0] == 1.0F) &&
         std::all_of(values.begin(), values.end(), [&](float x) { return x == values[0]; });
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
    const bool buffer = !options_.unnamed.contains(node.inputs[slot]) &&
                        IsBufferName(graph_.value(node.inputs[slot]).name);
    return !buffer && LeadsToLayer(node.inputs[1 - slot]);
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
    const bool all = IsIn(node.op, {"Concat", "MatMul", "Gemm", "Einsum"});
    const size_t main = MainOperand(node);
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (slot == main || TakesData(node, slot) || IsSlot(node, slot)) {
        Mark(node.inputs[slot], all || slot == main ? role : Role::kNone);
      }
    }
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
