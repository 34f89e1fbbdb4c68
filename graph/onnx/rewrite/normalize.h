// Brings a node of any opset from 7 on to the graph's own form, opset 17: attributes that became
// inputs (or the reverse), defaults that changed, outputs that only training reads. Knows nothing
// of protobuf.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "graph/graph.h"
#include "graph/onnx/rewrite/expand/expand.h"
#include "graph/onnx/rewrite/sequences.h"

namespace ds::onnx_io {

class Normalizer {
 public:
  // `graph`: receives the nodes. Must outlive this.
  Normalizer(Graph& graph, int opset) : graph_(graph), opset_(opset), sequences_(graph) {}

  // Adds `node`, whose inputs and outputs are values of the graph, as one node or more. `used`:
  // those of its outputs that a node or the graph's outputs read. Errors do not name the node; the
  // caller does. May infer shapes of what is in the graph so far, where the change depends on a
  // rank.
  absl::Status Append(Node node, const absl::flat_hash_set<ValueId>& used);

  // One sentence for each kind of change in what nodes appended so far mean.
  std::vector<std::string> Notes() const;

  // Whether a value of the file is a sequence, which the graph has not.
  bool IsSequence(ValueId id) const { return sequences_.Contains(id); }

  // True for an op that Append turns into supported ones.
  static bool IsRewritten(absl::string_view op) {
    return op == "Swish" || op == "CastLike" || op == "Upsample" || Sequences::Knows(op) ||
           IsExpanded(op);
  }

 private:
  absl::StatusOr<bool> Expand(const Node& node, const absl::flat_hash_set<ValueId>& used);
  absl::Status Rewrite(Node& node, const absl::flat_hash_set<ValueId>& used);
  absl::Status KeepFirstOutput(Node& node, const absl::flat_hash_set<ValueId>& used);
  absl::Status RewriteBatchNorm(Node& node);
  // Outputs that nobody reads, from the last on.
  void DropUnused(Node& node, const absl::flat_hash_set<ValueId>& used);
  absl::Status RewriteSoftmax(Node& node);
  absl::Status RewriteDropout(Node& node);
  absl::Status RewriteReduction(Node& node);
  absl::Status RewriteSplit(Node& node);
  absl::Status RewritePad(Node& node);
  absl::Status RewriteResize(Node& node);
  absl::Status RewriteUpsample(Node& node);
  absl::Status RewriteGridSample(Node& node);
  absl::Status RewriteGroupNormalization(Node& node);
  absl::Status RewriteCastLike(Node& node);
  absl::Status RewriteSwish(Node& node);
  absl::Status RewriteQuantization(Node& node);

  // Moves the ints attribute `key` to input slot `slot`.
  void AttributeToInput(Node& node, const std::string& key, size_t slot);
  // Elements of a constant integer input; FailedPrecondition where it is computed at run time.
  absl::StatusOr<std::vector<int64_t>> ConstantInts(const Node& node, size_t slot) const;

  Graph& graph_;
  const int opset_;
  Sequences sequences_;
  std::vector<std::string> training_norms_;
  std::vector<std::string> training_dropouts_;
};

}  // namespace ds::onnx_io
