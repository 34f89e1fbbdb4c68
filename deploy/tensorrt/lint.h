// Says of a graph with QuantizeLinear and DequantizeLinear nodes what TensorRT makes of it, node by
// node, before a GPU is at hand: what runs in INT8, what stays in float and why, and what it will
// not read at all. The rules are those of TensorRT's documentation of explicit quantisation
// (version 10); they were not measured here, and its builder may still choose otherwise.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace ds {

enum class TrtFate {
  kInt8,
  kInt4,   // weight-only: an int4 weight, multiplied in float
  kFloat,  // correct, but gains nothing
  kRefused,
};
// "INT8", "INT4 weights", "float", "refused".
std::string Name(TrtFate fate);

struct TrtVerdict {
  std::string node;
  std::string op;
  TrtFate fate = TrtFate::kInt8;
  // Why, and how to mend it; of kInt8 only where something is left to gain.
  std::string reason;
};

struct TrtLint {
  // Every node with a floating-point result that does not only prepare constants, in the graph's
  // order. QuantizeLinear, DequantizeLinear and nodes on codes are here only if refused.
  std::vector<TrtVerdict> nodes;

  int Count(TrtFate fate) const;
};

// `graph`: valid, shapes inferred as far as they can be. A graph without any Q/DQ is all float.
TrtLint LintForTensorRT(const Graph& graph);

// A line a node, then the sums.
std::string LintText(const TrtLint& lint);

}  // namespace ds
