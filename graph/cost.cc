// One row an operator; CostOf does what the row says.
#include "graph/cost.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "graph/schema/schema.h"
#include "graph/schema/structured/einsum.h"

namespace ds {

namespace {

int64_t Product(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

int64_t Sum(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

// A dynamic extent (the batch) counts once.
int64_t Count(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  for (const int64_t extent : shape) {
    if (extent != kDynamicDim) product = Product(product, extent);
  }
  return product;
}

const Shape* ShapeOf(const Graph& graph, const std::vector<ValueId>& ids, size_t i) {
  if (i >= ids.size() || ids[i] == kNoValue) return nullptr;
  const auto& shape = graph.value(ids[i]).shape;
  return shape.has_value() ? &*shape : nullptr;
}

int64_t OutputCount(const Graph& graph, const Node& node) {
  const Shape* out = ShapeOf(graph, node.outputs, 0);
  return out == nullptr ? 0 : Count(*out);
}

// Every output element takes the weights of its channel.
int64_t ConvProducts(const Graph& graph, const Node& node) {
  const Shape* w = ShapeOf(graph, node.inputs, 1);
  if (w == nullptr || w->empty()) return 0;
  return Product(OutputCount(graph, node), Count(absl::MakeConstSpan(*w).subspan(1)));
}

// Every input element meets the weights of its channel.
int64_t TransposedProducts(const Graph& graph, const Node& node) {
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  const Shape* w = ShapeOf(graph, node.inputs, 1);
  if (x == nullptr || w == nullptr || w->empty()) return 0;
  return Product(Count(*x), Count(absl::MakeConstSpan(*w).subspan(1)));
}

int64_t GemmProducts(const Graph& graph, const Node& node) {
  const Shape* a = ShapeOf(graph, node.inputs, 0);
  if (a == nullptr || a->size() != 2) return 0;
  return Product(OutputCount(graph, node), Count({(*a)[node.GetInt("transA", 0) != 0 ? 0 : 1]}));
}

int64_t MatMulProducts(const Graph& graph, const Node& node) {
  const Shape* a = ShapeOf(graph, node.inputs, 0);
  if (a == nullptr || a->empty()) return 0;
  return Product(OutputCount(graph, node), Count({a->back()}));
}

// All combinations of the letters, once for each operand after the first; what one operand alone
// becomes has no products.
int64_t EinsumProducts(const Graph& graph, const Node& node) {
  const auto axes = schema::ReadEinsum({graph, node});
  if (!axes.ok()) return 0;
  int64_t products = Count(axes->leading);
  for (const auto& [letter, extent] : axes->extents) products = Product(products, Count({extent}));
  return Product(products, static_cast<int64_t>(node.inputs.size()) - 1);
}

// All weights once a step (an unknown number of steps counts once) and a sample.
int64_t RecurrentProducts(const Graph& graph, const Node& node) {
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  const Shape* w = ShapeOf(graph, node.inputs, 1);
  const Shape* r = ShapeOf(graph, node.inputs, 2);
  if (x == nullptr || w == nullptr || r == nullptr || x->size() != 3) return 0;
  return Product(Count({(*x)[0], (*x)[1]}), Sum(Count(*w), Count(*r)));
}

// Two neighbours (linear) or four (cubic) along every axis that changes.
int64_t ResizeProducts(const Graph& graph, const Node& node) {
  const std::string mode = node.GetString("mode", "nearest");
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  const Shape* out = ShapeOf(graph, node.outputs, 0);
  if (x == nullptr || out == nullptr || mode == "nearest") return 0;
  int64_t neighbours = 1;
  for (size_t axis = 0; axis < std::min(x->size(), out->size()); ++axis) {
    if ((*x)[axis] != (*out)[axis]) neighbours *= mode == "linear" ? 2 : 4;
  }
  return neighbours == 1 ? 0 : Product(OutputCount(graph, node), neighbours);
}

int64_t GridSampleProducts(const Graph& graph, const Node& node) {
  const std::string mode = node.GetString("mode", "linear");
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  if (x == nullptr || x->size() < 3 || mode == "nearest") return 0;
  int64_t neighbours = 1;
  for (size_t axis = 2; axis < x->size(); ++axis) neighbours *= mode == "cubic" ? 4 : 2;
  return Product(OutputCount(graph, node), neighbours);
}

// Four neighbours a sampled point; a sampling ratio of 0 depends on the region and counts as 1.
int64_t RoiAlignProducts(const Graph& graph, const Node& node) {
  const int64_t ratio = std::max<int64_t>(1, node.GetInt("sampling_ratio", 0));
  return Product(OutputCount(graph, node), Product(4, Product(ratio, ratio)));
}

enum class Traffic {
  kAll,     // reads its operands, writes its results
  kPicks,   // reads of operand 0 what it writes, and its other operands
  kNothing  // its result is its operand by another name, or is known before the graph runs
};

struct Rule {
  Traffic traffic = Traffic::kAll;
  int64_t (*macs)(const Graph&, const Node&) = nullptr;
};

using Rules = absl::flat_hash_map<std::string, Rule>;

void AddProducts(Rules& rules) {
  rules["Conv"].macs = ConvProducts;
  rules["ConvTranspose"].macs = TransposedProducts;
  rules["Gemm"].macs = GemmProducts;
  rules["MatMul"].macs = MatMulProducts;
  rules["Einsum"].macs = EinsumProducts;
  for (const char* op : {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}) {
    rules[op].macs = RecurrentProducts;
  }
  rules["Resize"].macs = ResizeProducts;
  rules["GridSample"].macs = GridSampleProducts;
  rules["RoiAlign"].macs = RoiAlignProducts;
}

void AddMoves(Rules& rules) {
  for (const char* op : {"Gather", "GatherElements", "GatherND", "Slice"}) {
    rules[op].traffic = Traffic::kPicks;
  }
  for (const char* op : {"Constant", "Dropout", "Flatten", "Identity", "Reshape", "Shape", "Size",
                         "Squeeze", "Unsqueeze"}) {
    rules[op].traffic = Traffic::kNothing;
  }
  for (const char* op : {"Cast", "Concat", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike",
                         "NonZero", "OneHot", "Pad", "Range", "ScatterElements", "ScatterND",
                         "SpaceToDepth", "Split", "Tile", "Transpose", "Trilu", "Where"}) {
    rules[op];
  }
}

// Element by element, or a few passes over the elements.
void AddPasses(Rules& rules) {
  for (const char* op : {"Abs",
                         "Acos",
                         "Acosh",
                         "Add",
                         "And",
                         "Asin",
                         "Asinh",
                         "Atan",
                         "Atanh",
                         "BitwiseAnd",
                         "BitwiseNot",
                         "BitwiseOr",
                         "BitwiseXor",
                         "Ceil",
                         "Celu",
                         "Clip",
                         "Cos",
                         "Cosh",
                         "Div",
                         "Elu",
                         "Equal",
                         "Erf",
                         "Exp",
                         "Floor",
                         "Gelu",
                         "Greater",
                         "GreaterOrEqual",
                         "HardSigmoid",
                         "HardSwish",
                         "IsInf",
                         "IsNaN",
                         "LeakyRelu",
                         "Less",
                         "LessOrEqual",
                         "Log",
                         "Max",
                         "Mean",
                         "Min",
                         "Mish",
                         "Mod",
                         "Mul",
                         "Neg",
                         "Not",
                         "Or",
                         "PRelu",
                         "Pow",
                         "Reciprocal",
                         "Relu",
                         "Round",
                         "Selu",
                         "Shrink",
                         "SiLU",
                         "Sigmoid",
                         "Sign",
                         "Sin",
                         "Sinh",
                         "Softplus",
                         "Softsign",
                         "Sqrt",
                         "Sub",
                         "Sum",
                         "Tan",
                         "Tanh",
                         "ThresholdedRelu",
                         "Xor"}) {
    rules[op];
  }
  for (const char* op : {"ArgMax",
                         "ArgMin",
                         "AveragePool",
                         "BatchNormalization",
                         "CumSum",
                         "DequantizeLinear",
                         "DynamicQuantizeLinear",
                         "GlobalAveragePool",
                         "GlobalLpPool",
                         "GlobalMaxPool",
                         "GroupNormalization",
                         "Hardmax",
                         "InstanceNormalization",
                         "LRN",
                         "LayerNormalization",
                         "LogSoftmax",
                         "LpNormalization",
                         "LpPool",
                         "MaxPool",
                         "MeanVarianceNormalization",
                         "NonMaxSuppression",
                         "QuantizeLinear",
                         "RMSNormalization",
                         "ReduceL1",
                         "ReduceL2",
                         "ReduceLogSum",
                         "ReduceLogSumExp",
                         "ReduceMax",
                         "ReduceMean",
                         "ReduceMin",
                         "ReduceProd",
                         "ReduceSum",
                         "ReduceSumSquare",
                         "Softmax",
                         "TopK"}) {
    rules[op];
  }
}

const Rules& AllRules() {
  static const Rules& rules = *[] {
    auto* made = new Rules;
    AddProducts(*made);
    AddMoves(*made);
    AddPasses(*made);
    return made;
  }();
  return rules;
}

int64_t BytesOf(const Graph& graph, const std::vector<ValueId>& ids, size_t begin) {
  int64_t bytes = 0;
  for (size_t i = begin; i < ids.size(); ++i) {
    const Shape* shape = ShapeOf(graph, ids, i);
    if (shape == nullptr) continue;
    const int64_t count = Count(*shape);
    if (count > INT64_MAX / 8) return INT64_MAX;
    bytes = Sum(bytes, ByteSize(graph.value(ids[i]).dtype, count));
  }
  return bytes;
}

int64_t TrafficOf(const Graph& graph, const Node& node, Traffic traffic) {
  if (traffic == Traffic::kNothing) return 0;
  const bool picks = traffic == Traffic::kPicks;
  const int64_t written = BytesOf(graph, node.outputs, 0);
  const int64_t read = Sum(BytesOf(graph, node.inputs, picks ? 1 : 0), picks ? written : 0);
  return Sum(read, written);
}

}  // namespace

bool HasCost(absl::string_view op) { return AllRules().contains(op); }

NodeCost CostOf(const Graph& graph, const Node& node) {
  const auto rule = AllRules().find(node.op);
  if (rule == AllRules().end()) return {};
  return {.macs = rule->second.macs == nullptr ? 0 : rule->second.macs(graph, node),
          .bytes = TrafficOf(graph, node, rule->second.traffic)};
}

int64_t MultiplyAccumulates(const Graph& graph, const Node& node) {
  return CostOf(graph, node).macs;
}

}  // namespace ds
