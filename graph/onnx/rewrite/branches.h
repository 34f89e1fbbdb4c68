// Branches of a graph whose choices are Where nodes, for export: the importer computes both
// branches of an If (inline.h), a file need not. No operator is changed here: this says which nodes
// of the graph go into which branch.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "graph/onnx/rewrite/dim_names.h"

namespace ds::onnx_io {

// An If: of two regions, and of the values that both compute.
struct Choice {
  ValueId condition = kNoValue;
  std::vector<ValueId> outputs;  // of the Where nodes that it stands for
  int yes = -1, no = -1;         // regions
};

// A graph, or a branch.
struct Region {
  // One of both, in an order in which they can be computed.
  struct Step {
    int node = -1, choice = -1;
  };
  int parent = -1;
  std::vector<Step> steps;
  std::vector<ValueId> initializers;  // read in here, or further in, and nowhere else
  std::vector<ValueId> results;       // a branch's, in the order of its choice's outputs
};

struct BranchPlan {
  std::vector<Region> regions;  // 0 is the graph
  std::vector<Choice> choices;
};

// Where nodes that share a condition of one element, and whose operands and result have the same
// extents at any run (an operand that is broadcast is left alone) become one choice if a node that
// is worth it (a convolution, a product, a recurrent layer) is read for one side only. What another
// node reads too, or is random, stays outside. Nested. DequantizeLinear in front of a branch is
// repeated in it, since it is fused with its readers; its extents are added to `names`. Shapes must
// be inferred.
BranchPlan PlanBranches(Graph& graph, DimNames& names);

}  // namespace ds::onnx_io
