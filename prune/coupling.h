// The labels behind prune/groups.h: a union-find over all indices of all axes of all values
// of a graph.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

class AxisCoupling {
 public:
  // The graph must outlive it.
  explicit AxisCoupling(const Graph& graph) : graph_(graph) {}

  // Walks the graph. FailedPrecondition naming a value without a shape.
  absl::Status Run();

  // Extent of the axis, or kDynamicDim: then it has no labels.
  int64_t Extent(ValueId id, int axis) const { return shape(id)[static_cast<size_t>(axis)]; }
  // The representative of index `index` of an axis with labels.
  int64_t Find(ValueId id, int axis, int64_t index);
  // Why the label may not be removed, or empty.
  const std::string& Reason(int64_t label) const;

 private:
  const Shape& shape(ValueId id) const { return *graph_.value(id).shape; }
  int rank(ValueId id) const { return static_cast<int>(shape(id).size()); }
  int64_t Root(int64_t label);
  void Join(int64_t a, int64_t b);

  // Joins two axes index by index; fixes both if their extents are not equal and known.
  void Tie(ValueId a, int axis_a, ValueId b, int axis_b);
  // Joins a's indices with those of b from `offset` on.
  void TieAt(ValueId a, int axis_a, ValueId b, int axis_b, int64_t offset);
  // Axes of `a`, aligned at the end with those of `b`, which has as many or more: an extent of 1 is
  // repeated, all else tied.
  void TieBroadcast(ValueId a, ValueId b, int skip_last = 0);
  void TieAllBut(ValueId a, ValueId b, int axis);
  void Fix(ValueId id, int axis);
  void FixFrom(ValueId id, int axis);
  void FixNode(const Node& node);

  void Visit(const Node& node);
  bool VisitLayer(const Node& node);
  bool VisitShape(const Node& node);
  void Conv(const Node& node);
  void GroupedConv(const Node& node);
  void Gemm(const Node& node);
  void MatMul(const Node& node);
  void Spatial(const Node& node);
  void Reduce(const Node& node);
  void Concat(const Node& node);
  void Flatten(const Node& node);
  void Squeeze(const Node& node);
  void LayerNorm(const Node& node);
  std::vector<int64_t> Ints(const Node& node, size_t input, int rank) const;

  const Graph& graph_;
  std::vector<std::vector<int64_t>> first_;  // [value][axis]: the axis' first label, or -1
  std::vector<int64_t> parent_;
  std::vector<int> reason_;  // by label; index into reasons_, 0: none
  std::vector<std::string> reasons_ = {""};
};

}  // namespace ds
