#include "graph/passes/matrices_to_gemms.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/channel_affine.h"
#include "graph/passes/passes.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

// What a matrix product becomes. Shapes are still those of its operand and of its last result.
struct Product {
  Node gemm;
  std::vector<Node> activations;  // behind it, of one operand each: as good on rows
  std::vector<int> swallowed;     // nodes that go
};

bool IsActivation(const std::string& op) {
  static const std::set<std::string> ops = {"Clip", "Gelu",    "HardSigmoid", "LeakyRelu",
                                            "Relu", "Sigmoid", "Tanh"};
  return ops.count(op) > 0;
}

class Folder {
 public:
  explicit Folder(Graph& graph) : graph_(graph), uses_(graph), reader_(graph.values().size(), -1) {
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      names_.insert(graph.nodes()[n].name);
      for (const ValueId id : graph.nodes()[n].inputs) {
        if (id != kNoValue) reader_[id] = static_cast<int>(n);
      }
    }
  }

  void Run() {
    const std::vector<Node> nodes = graph_.nodes();
    std::vector<bool> gone(nodes.size(), false);
    std::vector<Node> kept;
    for (size_t n = 0; n < nodes.size(); ++n) {
      if (gone[n]) continue;
      std::optional<Product> product;
      if (IsByConstantMatrix(nodes[n])) product = Fold(nodes[n]);
      if (!product) {
        kept.push_back(nodes[n]);
        continue;
      }
      for (const int index : product->swallowed) gone[static_cast<size_t>(index)] = true;
      Emit(*std::move(product), kept);
    }
    graph_.mutable_nodes() = std::move(kept);
  }

 private:
  // x [..., K] times a constant [K, C], or a Gemm of x [rows, K] as it comes from a linear layer.
  bool IsByConstantMatrix(const Node& node) const {
    if (node.op != "MatMul" && node.op != "Gemm") return false;
    const Tensor* weight = FloatConstant(graph_, node.inputs[1]);
    const auto& input = graph_.value(node.inputs[0]).shape;
    if (weight == nullptr || weight->rank() != 2 || graph_.IsInitializer(node.inputs[0]) ||
        !input.has_value() || input->size() < 2) {
      return false;
    }
    if (node.op == "MatMul") return true;
    const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
    const Tensor* bias = has_bias ? FloatConstant(graph_, node.inputs[2]) : nullptr;
    const bool plain_bias =
        !has_bias || (bias != nullptr && bias->rank() == 1 && bias->dim(0) == Channels(node));
    return plain_bias && node.GetInt("transA", 0) == 0 && node.GetFloat("alpha", 1.0f) == 1.0f &&
           node.GetFloat("beta", 1.0f) == 1.0f;
  }

  int64_t Channels(const Node& node) const {
    return graph_.Constant(node.inputs[1])->dim(node.GetInt("transB", 0) != 0 ? 0 : 1);
  }

  // Nothing where nothing follows that could be folded, or the shapes are too little known.
  std::optional<Product> Fold(const Node& node) {
    Product product{.gemm = node, .swallowed = {}};
    product.gemm.op = "Gemm";
    std::vector<int> between;  // rearrangements that count only if something is folded behind them
    for (ValueId id = node.outputs[0]; uses_.Count(id) == 1 && reader_[id] >= 0;) {
      const int index = reader_[id];
      const Node& next = graph_.nodes()[static_cast<size_t>(index)];
      const auto affine = AffineOf(next, id, Channels(node));
      between.push_back(index);
      if (affine) {
        if (!IsWritable(next.outputs[0], node)) break;
        FoldAffine(graph_, product.gemm, *affine, next.outputs[0]);
        product.swallowed.insert(product.swallowed.end(), between.begin(), between.end());
        between.clear();
      } else if (!KeepsChannels(next, Channels(node))) {
        break;
      }
      id = next.outputs[0];
    }
    if (product.swallowed.empty()) return std::nullopt;
    TakeActivations(product);
    return product;
  }

  bool OthersAreConstant(const Node& node) const {
    return std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                       [this](ValueId id) { return id == kNoValue || graph_.IsInitializer(id); });
  }

  void TakeActivations(Product& product) const {
    for (ValueId id = product.gemm.outputs[0]; uses_.Count(id) == 1 && reader_[id] >= 0;) {
      const Node& next = graph_.nodes()[static_cast<size_t>(reader_[id])];
      if (!IsActivation(next.op) || next.inputs[0] != id || !OthersAreConstant(next)) return;
      product.swallowed.push_back(reader_[id]);
      product.activations.push_back(next);
      id = next.outputs[0];
    }
  }

  std::optional<ChannelAffine> AffineOf(const Node& next, ValueId id, int64_t channels) const {
    const auto& shape = graph_.value(id).shape;
    if (!shape.has_value() || shape->empty()) return std::nullopt;
    const int rank = static_cast<int>(shape->size());
    if (next.op != "BatchNormalization") {
      return AffineOfConstant(graph_, next, id, channels, rank, rank - 1);
    }
    const bool fits = rank == 2 && next.inputs[0] == id && next.GetInt("training_mode", 0) == 0 &&
                      HasConstantStatistics(graph_, next);
    return fits ? std::optional(AffineOfNorm(graph_, next)) : std::nullopt;
  }

  // A Reshape that leaves the last axis as it is.
  bool KeepsChannels(const Node& node, int64_t channels) const {
    const auto& shape = graph_.value(node.outputs[0]).shape;
    return node.op == "Reshape" && shape.has_value() && !shape->empty() &&
           shape->back() == channels;
  }

  // The result's shape can be written with one -1, and rows are rows of the same input.
  bool IsWritable(ValueId result, const Node& node) const {
    const auto& shape = graph_.value(result).shape;
    const auto& input = graph_.value(node.inputs[0]).shape;
    if (!shape.has_value() || input->back() == kDynamicDim) return false;
    return shape->size() == 2 || std::count(shape->begin(), shape->end(), kDynamicDim) <= 1;
  }

  ValueId ShapeConstant(const std::string& name, const Shape& shape) {
    Tensor tensor = Tensor::From<int64_t>({static_cast<int64_t>(shape.size())}, shape);
    return graph_.AddInitializer(name, std::move(tensor), false);
  }

  std::string NodeName(std::string name) {
    while (!names_.insert(name).second) name += "_";
    return name;
  }

  // The operand as rows: what another product's rows were shaped into, or a Reshape of it.
  ValueId Rows(const std::string& name, ValueId input, std::vector<Node>& nodes) {
    const Shape& shape = *graph_.value(input).shape;
    if (shape.size() == 2) return input;
    const auto known = rows_.find(input);
    if (known != rows_.end()) return known->second;
    const ValueId to = ShapeConstant(name + ".shape", {-1, shape.back()});
    const ValueId rows = graph_.AddValue(name);
    nodes.push_back({NodeName(name), "Reshape", {input, to}, {rows}, {}});
    return rows;
  }

  void Emit(Product product, std::vector<Node>& nodes) {
    const std::string name = product.gemm.name;
    std::vector<Node> made;
    made.push_back(std::move(product.gemm));
    for (Node& node : product.activations) made.push_back(std::move(node));
    const ValueId result = made.back().outputs[0];
    Shape shape = *graph_.value(result).shape;
    made[0].inputs[0] = Rows(name + ".rows", made[0].inputs[0], nodes);
    if (shape.size() == 2) {
      for (Node& node : made) nodes.push_back(std::move(node));
      return;
    }
    ValueId rows = made[0].inputs[0];
    for (Node& node : made) {
      node.inputs[0] = rows;
      rows = graph_.AddValue(absl::StrCat(graph_.value(node.outputs[0]).name, ".rows"));
      node.outputs[0] = rows;
      nodes.push_back(std::move(node));
    }
    std::replace(shape.begin(), shape.end(), kDynamicDim, int64_t{-1});
    const ValueId to = ShapeConstant(name + ".shaped.shape", shape);
    nodes.push_back({NodeName(name + ".shaped"), "Reshape", {rows, to}, {result}, {}});
    rows_[result] = rows;
  }

  Graph& graph_;
  const Uses uses_;
  std::set<std::string> names_;      // of nodes
  std::vector<int> reader_;          // of a value, the last
  std::map<ValueId, ValueId> rows_;  // what a value was shaped from
};

}  // namespace

absl::Status MatricesToGemms(Graph& graph) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  Folder(graph).Run();
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  return InferShapes(graph);
}

}  // namespace ds
