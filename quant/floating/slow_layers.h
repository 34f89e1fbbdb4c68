// Layers that integers make slower than floats are: small products between large conversions.
#pragma once

#include <vector>

#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"

namespace ds {

struct SlowLayers {
  QuantPlan plan;          // without them
  std::vector<int> nodes;  // with integers in the plan that came, in the graph's order
  double saved_us = 0;     // a sample, about
};

// Parts of the network that integers join (a value that is rounded once, and all that computes with
// it) are weighed by a model of ONNX Runtime's kernels on one core: what their products save
// against what rounding on the way in and scaling on the way out cost. Those that lose are taken
// out. `graph`: with the shapes of one sample; what has unknown shapes stays.
SlowLayers TakeOutSlowLayers(const Graph& graph, const QuantSelection& selection,
                             const QuantPlan& plan);

}  // namespace ds
