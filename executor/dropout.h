// Dropout's mask as a pure function of (seed, step, rank, node, element): whatever the threads, the
// layout or what else drew random numbers, the same key gives the same mask.
#pragma once

#include "ATen/ATen.h"
#include "absl/strings/string_view.h"
#include "executor/kernel.h"

namespace ds::executor {

// The part of a node in the key: depends on its name only, so that adding a node elsewhere changes
// nothing.
uint64_t DropoutNode(absl::string_view name);

// [sizes] of `type`: 0 with probability `ratio` (in [0, 1)), 1 / (1 - ratio) otherwise. Elements
// count in row-major order.
at::Tensor DropoutMask(const DropoutKey& key, uint64_t node, double ratio, at::IntArrayRef sizes,
                       at::ScalarType type);

}  // namespace ds::executor
