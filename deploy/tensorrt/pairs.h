// The QuantizeLinear and DequantizeLinear nodes of a graph as TensorRT reads them: which of them it
// refuses, and which values they leave in INT8.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/tensor/tensor.h"
#include "graph/graph.h"
#include "graph/passes/uses.h"

namespace ds::qdq {

// `graph` and `uses` must outlive it.
class TrtPairs {
 public:
  TrtPairs(const Graph& graph, const Uses& uses);

  // Why TensorRT does not read this node (of quantisation, or a Cast or Clip on codes), with how to
  // mend it; nothing if it does.
  std::string WhyRefused(const Node& node) const;
  // True for a node that computes a constant from constants, DequantizeLinear apart.
  bool IsOfConstants(const Node& node) const;

  // Written by a DequantizeLinear that is read, from codes of computed values or of constants.
  bool IsDequantised(ValueId id) const;
  // Read by a QuantizeLinear that is read.
  bool IsQuantised(ValueId id) const;
  // `id` is dequantised from what a node `op` computes.
  bool ComesFrom(ValueId id, const char* op) const;
  // `input` is dequantised and `result` quantised by one and the same scale.
  bool SameScale(ValueId input, ValueId result) const;
  // What the constant codes are stored as from which `id` is dequantised.
  std::optional<DType> WeightType(ValueId id) const;

 private:
  const Node* Maker(ValueId id) const;
  std::string Zeros(const Node& node) const;
  std::string Scales(const Node& node) const;
  std::string Quantise(const Node& node) const;
  std::string Dequantise(const Node& node) const;
  std::string Weight(const Node& node, const Tensor& codes) const;
  std::string Blocks(const Node& node, const Tensor& codes) const;

  const Graph& graph_;
  const Uses& uses_;
  std::vector<std::vector<int>> readers_;  // by ValueId
};

}  // namespace ds::qdq
