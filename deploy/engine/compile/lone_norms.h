// Batch norms that stay steps of their own, for --explain.
#pragma once

#include <map>
#include <string>

#include "graph/graph.h"

namespace ds::engine::compile {

// Why each BatchNormalization that is left in the graph was taken in by no convolution, by the
// node's name.
std::map<std::string, std::string> WhyNormsStay(const Graph& graph);

}  // namespace ds::engine::compile
