// What a graph achieves on a data set: for jobs that change a trained model without training it.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "trainer/evaluate.h"
#include "trainer/optim/options.h"

namespace ds {

// Loss and metrics of the first output as `loss` says, in fp32 with running statistics, over
// `range` of `loader`'s epoch 0. InvalidArgument where that is empty, or the loss does not go with
// the model or the data's targets; errors of the executor and the loader.
absl::StatusOr<Evaluation> EvaluateGraph(const Graph& graph, const LossOptions& loss,
                                         DataLoader& loader, const BatchRange& range = {});

}  // namespace ds
