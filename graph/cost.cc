// The cost model: multiply-accumulate operations of a node.
#include "graph/schema/schema.h"

namespace ds {

namespace {

// A dynamic extent (the batch) counts once.
int64_t Count(absl::Span<const int64_t> shape) {
  int64_t product = 1;
  for (int64_t extent : shape) {
    if (extent != kDynamicDim && __builtin_mul_overflow(product, extent, &product))
      return INT64_MAX;
  }
  return product;
}

const Shape* ShapeOf(const Graph& graph, const std::vector<ValueId>& ids, size_t i) {
  if (i >= ids.size() || ids[i] == kNoValue) return nullptr;
  const auto& shape = graph.value(ids[i]).shape;
  return shape.has_value() ? &*shape : nullptr;
}

int64_t Product(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? INT64_MAX : product;
}

// Every input element meets the weights of its channel.
int64_t TransposedProducts(const Graph& graph, const Node& node) {
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  const Shape* w = ShapeOf(graph, node.inputs, 1);
  if (x == nullptr || w == nullptr || w->empty()) return 0;
  return Product(Count(*x), Count(absl::MakeConstSpan(*w).subspan(1)));
}

// All weights once a step (an unknown number of steps counts once) and a sample.
int64_t RecurrentProducts(const Graph& graph, const Node& node) {
  const Shape* x = ShapeOf(graph, node.inputs, 0);
  const Shape* w = ShapeOf(graph, node.inputs, 1);
  const Shape* r = ShapeOf(graph, node.inputs, 2);
  if (x == nullptr || w == nullptr || r == nullptr || x->size() != 3) return 0;
  int64_t weights = 0;
  if (__builtin_add_overflow(Count(*w), Count(*r), &weights)) return INT64_MAX;
  return Product(Count({(*x)[0], (*x)[1]}), weights);
}

}  // namespace

int64_t MultiplyAccumulates(const Graph& graph, const Node& node) {
  if (node.op == "ConvTranspose") return TransposedProducts(graph, node);
  if (node.op == "LSTM" || node.op == "GRU" || node.op == "RNN" ||
      node.op == "DynamicQuantizeLSTM") {
    return RecurrentProducts(graph, node);
  }
  const Shape* out = ShapeOf(graph, node.outputs, 0);
  const Shape* a = ShapeOf(graph, node.inputs, 0);
  const Shape* b = ShapeOf(graph, node.inputs, 1);
  if (out == nullptr || a == nullptr || b == nullptr) return 0;
  int64_t depth = 0;  // products that are added up for one output element
  if (node.op == "Conv" && !b->empty()) {
    depth = Count(absl::MakeConstSpan(*b).subspan(1));
  } else if (node.op == "Gemm" && a->size() == 2) {
    depth = Count({(*a)[node.GetInt("transA", 0) != 0 ? 0 : 1]});
  } else if (node.op == "MatMul" && !a->empty()) {
    depth = Count({a->back()});
  }
  int64_t macs = 0;
  return __builtin_mul_overflow(Count(*out), depth, &macs) ? INT64_MAX : macs;
}

}  // namespace ds
