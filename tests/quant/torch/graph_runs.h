// What a graph has and computes, for tests of rewrites that leave its results as they are.
#pragma once

#include <map>
#include <string>

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "executor/graph_module.h"
#include "gtest/gtest.h"

namespace ds {

// How many nodes of each op.
inline std::map<std::string, int> Ops(const Graph& graph) {
  std::map<std::string, int> ops;
  for (const Node& node : graph.nodes()) ++ops[node.op];
  return ops;
}

// The first output, of a graph with one input.
inline at::Tensor Computed(const Graph& graph, const at::Tensor& x) {
  const at::NoGradGuard no_grad;
  auto module = GraphModule::Create(graph);
  EXPECT_TRUE(module.ok()) << module.status();
  auto outputs = (*module)->Forward({x});
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs->at(0);
}

}  // namespace ds
