// A graph as a table for people: what `ds_export --describe` prints.
#pragma once

#include <string>

#include "graph/graph.h"

namespace ds {

// What goes in and out and what trains (TrainedValuesText), then one line a node with its operator,
// output shape, trainable parameters, multiply-accumulates and bytes moved a sample (graph/cost.h),
// then totals. Shapes should be inferred already; where one is not known it says so. A parameter
// counts at its first reader.
std::string Describe(const Graph& graph);

// Multiply-accumulates of all nodes for one sample.
int64_t TotalMultiplyAccumulates(const Graph& graph);

}  // namespace ds
