// A model's loss and accuracy over labelled data: the one loop that training, quantisation and
// whatever else measures share.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "absl/status/statusor.h"
#include "data/loader.h"
#include "executor/graph_module.h"
#include "trainer/divergence.h"
#include "trainer/optim/loss.h"

namespace ds {

inline constexpr char kLossIsNotFinite[] = "the loss of the evaluation is not finite";

struct Evaluation {
  double loss = 0;      // mean over all ranks' samples
  double accuracy = 0;  // share of hits, 0..1
  int64_t samples = 0;
};

// Sums over one rank's shard: what ranks add up before they divide.
struct EvaluationSums {
  double loss = 0, hits = 0, samples = 0;
  // Of the first batch whose loss is not finite, behind which nothing was added.
  std::optional<Divergence> not_finite;
  // InvalidArgument where there were no samples, or the loss is not finite.
  absl::StatusOr<Evaluation> Mean() const;
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
