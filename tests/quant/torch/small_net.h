// A small network, and pictures for it.
#pragma once

#include <utility>

#include "ATen/ATen.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {

inline constexpr uint64_t kSeed = 20261124;

// resnet8 of grey pictures of 16 x 16.
inline Graph SmallNet() {
  auto graph = BuildModel("resnet8", {.channels = 1, .height = 16, .width = 16, .seed = kSeed});
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

// Normal noise, the same for the same seed: [count, channels, side, side], channels last.
inline at::Tensor Images(int64_t count, int64_t channels = 1, int64_t side = 16,
                         uint64_t seed = kSeed) {
  at::manual_seed(seed);
  return at::randn({count, channels, side, side}).contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace ds
