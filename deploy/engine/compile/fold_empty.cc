#include "deploy/engine/compile/fold_empty.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds::engine::compile {
namespace {

template <typename T>
Tensor Filled(const Shape& shape, T value) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return Tensor::From<T>(shape, std::vector<T>(static_cast<size_t>(count), value));
}

template <typename T>
std::optional<T> OfNothing(const std::string& op) {
  using Limits = std::numeric_limits<T>;
  const bool floats = Limits::has_infinity;
  if (op == "ReduceProd") return T{1};
  if (op == "ReduceMin") return floats ? Limits::infinity() : Limits::max();
  if (op == "ReduceMax") return floats ? static_cast<T>(-Limits::infinity()) : Limits::lowest();
  if (op == "ReduceSum" || op == "ReduceSumSquare" || op == "ReduceL1" || op == "ReduceL2")
    return T{0};
  if (!floats) return std::nullopt;
  if (op == "ReduceLogSum" || op == "ReduceLogSumExp") return static_cast<T>(-Limits::infinity());
  if (op == "ReduceMean") return Limits::quiet_NaN();
  return std::nullopt;
}

template <typename T>
std::optional<Tensor> FilledWithNothing(const std::string& op, const Shape& shape) {
  const auto value = OfNothing<T>(op);
  return value ? std::optional(Filled<T>(shape, *value)) : std::nullopt;
}

std::optional<Tensor> ReducedNothing(const Node& node, const Value& result) {
  if (!absl::StartsWith(node.op, "Reduce")) return std::nullopt;
  switch (result.dtype) {
    case DType::kFloat32:
      return FilledWithNothing<float>(node.op, *result.shape);
    case DType::kInt32:
      return FilledWithNothing<int32_t>(node.op, *result.shape);
    case DType::kInt64:
      return FilledWithNothing<int64_t>(node.op, *result.shape);
    case DType::kBool: {
      Tensor filled(DType::kBool, *result.shape);
      for (bool& value : filled.mutable_span<bool>()) value = node.op == "ReduceMin";
      return filled;
    }
    default:
      return std::nullopt;
  }
}

class EmptyFolder {
 public:
  explicit EmptyFolder(Graph& graph) : graph_(graph) {
    for (const ValueId id : graph.inputs()) {
      if (HasNoElements(graph.value(id))) empty_.insert(id);
    }
  }

  absl::Status Run() {
    std::vector<Node> kept;
    for (Node& node : graph_.mutable_nodes()) {
      DS_ASSIGN_OR_RETURN(const bool folded, Fold(node));
      if (!folded) kept.push_back(std::move(node));
    }
    graph_.mutable_nodes() = std::move(kept);
    return absl::OkStatus();
  }

 private:
  // Whether the node's results are initialisers now.
  absl::StatusOr<bool> Fold(Node& node) {
    int made = 0, without = 0;
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      ++made;
      if (!HasNoElements(graph_.value(id))) continue;
      ++without;
      empty_.insert(id);
    }
    if (made > 0 && made == without) {
      for (const ValueId id : node.outputs) {
        if (id == kNoValue) continue;
        const Value& value = graph_.value(id);
        Keep(id, Tensor(value.dtype, *value.shape));
      }
      return true;
    }
    const bool reads = std::any_of(node.inputs.begin(), node.inputs.end(),
                                   [&](ValueId id) { return empty_.contains(id); });
    if (!reads) return false;
    if (node.op == "Concat") {
      std::erase_if(node.inputs, [&](ValueId id) { return empty_.contains(id); });
      return false;
    }
    const Value& result = graph_.value(node.outputs[0]);
    // CheckExtents() refuses what is open.
    if (!result.shape || std::count(result.shape->begin(), result.shape->end(), kDynamicDim) > 0)
      return false;
    if (empty_.contains(node.inputs[0])) {
      if (auto filled = ReducedNothing(node, result)) {
        Keep(node.outputs[0], *std::move(filled));
        return true;
      }
    }
    return absl::UnimplementedError(absl::StrCat(
        "node '", node.name, "' (", node.op,
        ") reads a tensor without elements and makes elements of it, which the edge engine does "
        "not: leave the node out of the model"));
  }

  void Keep(ValueId id, Tensor data) {
    graph_.mutable_initializers()[id] = {.data = std::move(data), .trainable = false};
  }

  Graph& graph_;
  std::set<ValueId> empty_;  // not those that initialisers are
};

}  // namespace

absl::Status FoldEmpty(Graph& graph) { return EmptyFolder(graph).Run(); }

}  // namespace ds::engine::compile
