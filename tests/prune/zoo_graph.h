// Graphs for tests of what rewrites them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "graph/builder.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {

// For images of 3 x side x side.
inline Graph Zoo(const std::string& name, int64_t side = 32) {
  auto graph = BuildModel(name, {.channels = 3, .height = side, .width = side, .seed = 7});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

inline Graph Finished(Builder& b) {
  auto graph = b.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

}  // namespace ds
