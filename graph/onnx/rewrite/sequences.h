// Sequences of tensors whose members are known when a model is read: the graph has none. PyTorch
// writes torch.split as SplitToSequence with a SequenceAt for each part.
#pragma once

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace ds::onnx_io {

class Sequences {
 public:
  // `graph`: receives the nodes. Must outlive this.
  explicit Sequences(Graph& graph) : graph_(graph) {}

  // SplitToSequence and SequenceConstruct are remembered (the first becomes a Split), SequenceAt,
  // SequenceLength and ConcatFromSequence become operators on the members; true is returned. False
  // for another operator. Unimplemented where members are not known: sizes or a position that the
  // network computes, a sequence that another operator reads.
  absl::StatusOr<bool> Expand(const Node& node);

  bool Contains(ValueId id) const { return members_.contains(id); }

  // True for an operator that Expand turns into others.
  static bool Knows(absl::string_view op);

 private:
  using Members = std::vector<ValueId>;

  absl::Status Split(const Node& node);
  absl::StatusOr<std::vector<int64_t>> Sizes(const Node& node, int64_t axis);
  absl::Status At(const Node& node, const Members& members);
  absl::Status Concat(const Node& node, const Members& members);

  Graph& graph_;
  absl::flat_hash_map<ValueId, Members> members_;
};

}  // namespace ds::onnx_io
