// What a graph makes of images.
#pragma once

#include "ATen/ATen.h"
#include "ATen/core/grad_mode.h"
#include "executor/graph_module.h"
#include "graph/graph.h"
#include "gtest/gtest.h"

namespace ds {

// The first output in evaluation, without gradient.
inline at::Tensor Outputs(GraphModule& module, const at::Tensor& images) {
  const at::NoGradGuard no_grad;
  const auto outputs = module.Forward({images});
  EXPECT_TRUE(outputs.ok()) << outputs.status();
  return outputs->front().clone();
}

inline at::Tensor Outputs(const Graph& graph, const at::Tensor& images) {
  const auto module = GraphModule::Create(graph);
  EXPECT_TRUE(module.ok()) << module.status();
  return Outputs(**module, images);
}

}  // namespace ds
