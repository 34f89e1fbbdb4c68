// Private to decompose/: writes the nodes that one node becomes.
#pragma once

#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "graph/graph.h"

namespace ds::engine::compile {

class Rewriter {
 public:
  explicit Rewriter(Graph& graph) : graph_(graph) {}

  void Begin(const Node& like) {
    like_ = &like;
    count_ = 0;
  }
  void Keep(const Node& node) { nodes_.push_back(node); }
  std::vector<Node> Take() { return std::move(nodes_); }

  bool Has(size_t slot) const {
    return slot < like_->inputs.size() && like_->inputs[slot] != kNoValue;
  }
  ValueId In(size_t slot) const { return Has(slot) ? like_->inputs[slot] : kNoValue; }
  const Tensor* ConstantIn(size_t slot) const {
    return Has(slot) ? graph_.Constant(In(slot)) : nullptr;
  }
  // Whether input `slot` follows from an initialiser by the first inputs of a few nodes, as weights
  // do behind a DequantizeLinear, a Reshape or a Cast.
  bool IsWeight(size_t slot) const {
    constexpr int kMost = 8;
    ValueId id = In(slot);
    for (int depth = 0; depth < kMost && id != kNoValue; ++depth) {
      if (graph_.IsInitializer(id)) return true;
      const int maker = graph_.Producer(id);
      if (maker < 0) return false;
      const Node& node = graph_.nodes()[static_cast<size_t>(maker)];
      id = node.inputs.empty() ? kNoValue : node.inputs[0];
    }
    return false;
  }
  Shape ShapeIn(size_t slot = 0) const { return *graph_.value(In(slot)).shape; }
  Shape ShapeOut() const { return *graph_.value(like_->outputs[0]).shape; }
  // Copies: values move as the graph grows.
  DType TypeIn(size_t slot = 0) const { return graph_.value(In(slot)).dtype; }
  DType TypeOut() const { return graph_.value(like_->outputs[0]).dtype; }
  bool ReadsFloats() const { return TypeIn() == DType::kFloat32; }

  ValueId Op(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {}) {
    const ValueId output = graph_.AddValue(absl::StrCat(like_->name, ".", ++count_));
    Add(op, std::move(inputs), output, std::move(attributes));
    return output;
  }
  // Writes output `slot` of the node that is replaced.
  void Finish(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {},
              size_t slot = 0) {
    Add(op, std::move(inputs), like_->outputs[slot], std::move(attributes));
  }
  ValueId Constant(Tensor tensor) {
    return graph_.AddInitializer(absl::StrCat(like_->name, ".constant", ++count_),
                                 std::move(tensor), false);
  }
  ValueId Ints(const std::vector<int64_t>& numbers) {
    return Constant(Tensor::From<int64_t>({static_cast<int64_t>(numbers.size())}, numbers));
  }
  ValueId Number(float number) { return Constant(Tensor::Scalar<float>(number)); }
  ValueId Reshape(ValueId x, const Shape& shape) { return Op("Reshape", {x, Ints(shape)}); }
  void FinishReshape(ValueId x) { Finish("Reshape", {x, Ints(ShapeOut())}); }
  // As its number stands for, from the front.
  int64_t Axis(int64_t axis, size_t rank) const {
    return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
  }
  ValueId Reduce(const std::string& op, ValueId x, const std::vector<int64_t>& axes) {
    return Op(op, {x}, {{"axes", axes}, {"keepdims", int64_t{1}}});
  }
  // 0, 1, 2, ... along `axis` of `rank`.
  ValueId Counted(int64_t count, int64_t axis, int64_t rank) {
    Shape shape(static_cast<size_t>(rank), 1);
    shape[static_cast<size_t>(axis)] = count;
    std::vector<int64_t> numbers(static_cast<size_t>(count));
    std::iota(numbers.begin(), numbers.end(), 0);
    return Constant(Tensor::From<int64_t>(shape, numbers));
  }
  Graph& graph() { return graph_; }
  const Node& node() const { return *like_; }

 private:
  void Add(const std::string& op, std::vector<ValueId> inputs, ValueId output,
           Attributes attributes) {
    const bool last = output == like_->outputs[0];
    nodes_.push_back({.name = last ? like_->name : absl::StrCat(like_->name, ".", op, ++count_),
                      .op = op,
                      .inputs = std::move(inputs),
                      .outputs = {output},
                      .attributes = std::move(attributes)});
  }

  Graph& graph_;
  const Node* like_ = nullptr;
  int count_ = 0;
  std::vector<Node> nodes_;
};

inline int64_t Product(const Shape& shape, size_t first, size_t last) {
  int64_t product = 1;
  for (size_t i = first; i < last; ++i) product *= shape[i];
  return product;
}
inline std::vector<int64_t> AxesFrom(int64_t first, size_t rank) {
  std::vector<int64_t> axes;
  for (int64_t i = first; i < static_cast<int64_t>(rank); ++i) axes.push_back(i);
  return axes;
}

// Each: whether it has written the node anew.
bool DecomposeNorm(Rewriter& to);
bool DecomposeForm(Rewriter& to);
bool DecomposeWindow(Rewriter& to);
bool DecomposeProduct(Rewriter& to);
bool DecomposeQuantiser(Rewriter& to);

}  // namespace ds::engine::compile
