// How often a graph is right on a data set: for jobs that change a trained model without training
// it.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "trainer/evaluate.h"

namespace ds {

// Share of samples (tokens) whose label the first output ranks highest, 0..1, in fp32 with running
// statistics, over `range` of `loader`'s epoch 0. InvalidArgument where that is empty; errors of
// the executor and the loader.
absl::StatusOr<double> GraphAccuracy(const Graph& graph, DataLoader& loader,
                                     const BatchRange& range = {});

}  // namespace ds
