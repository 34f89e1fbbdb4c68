// How often a graph is right on a data set: for jobs that change a trained model without training
// it.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "trainer/data/loader.h"

namespace ds {

// Share of samples (tokens) whose label the first output ranks highest, 0..1, in fp32 with running
// statistics, over one epoch of `loader`. InvalidArgument for an empty data set; errors of the
// executor and the loader.
absl::StatusOr<double> GraphAccuracy(const Graph& graph, DataLoader& loader);

}  // namespace ds
