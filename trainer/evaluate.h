// A model's loss and metrics over labelled data: the one loop that training, quantisation and
// whatever else measures share.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "data/loader.h"
#include "executor/graph_module.h"
#include "trainer/divergence.h"
#include "trainer/metrics.h"
#include "trainer/optim/loss.h"

namespace ds {

inline constexpr char kLossIsNotFinite[] = "the loss of the evaluation is not finite";

struct Evaluation {
  double loss = 0;                   // mean over what counts, of all ranks
  std::vector<MetricValue> metrics;  // as the loss names them
  int64_t samples = 0;               // that count: samples, tokens, pixels; bce, numbers: elements

  // The one that decides which model is best. Not of an Evaluation that was never made.
  double metric() const { return metrics.front().value; }
};

// Sums over one rank's shard: what ranks add up before they divide.
struct EvaluationSums {
  double loss = 0;    // times its weight
  double weight = 0;  // what the loss is divided by
  double hits = 0;    // out of `samples`; of numbers 0
  double samples = 0;
  MetricSums metrics;
  // Of the first batch whose loss is not finite, behind which nothing was added.
  std::optional<Divergence> not_finite;
  // InvalidArgument where there were no samples, or the loss is not finite.
  absl::StatusOr<Evaluation> Mean() const;
  // Those of all ranks, on every rank, except for `not_finite`. Collective.
  absl::Status AddRanks(Communicator& communicator);
};

// Which batches of the loader's epoch 0.
struct BatchRange {
  int64_t first = 0;
  int64_t count = std::numeric_limits<int64_t>::max();
};

// Runs the model without gradients, in evaluation mode (it stays in it), over the loader's batches;
// empty ones are left out.
absl::StatusOr<EvaluationSums> SumEvaluation(GraphModule& model, const Loss& loss,
                                             DataLoader& loader, const BatchRange& range = {});
// The same of one rank, divided.
absl::StatusOr<Evaluation> Evaluate(GraphModule& model, const Loss& loss, DataLoader& loader,
                                    const BatchRange& range = {});

}  // namespace ds
