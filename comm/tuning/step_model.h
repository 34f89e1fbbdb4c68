// What a training step takes with its exchange, from the step without one and from what each
// bucket's exchange costs, measured (link_cost.h, cost_model.h): one bucket after another goes
// while the rest of the backward pass runs, slowing it, and what is left goes after it.
#pragma once

#include <vector>

#include "absl/types/span.h"
#include "comm/tuning/link_cost.h"

namespace ds {

// Seconds of one bucket.
struct BucketCost {
  double ready_s = 0;        // compute until its gradients are there, from the window's begin
  double coding_s = 0;       // encode, add up and decode, with nothing beside it
  double link_s = 0;         // both exchanges, with nothing beside them
  double shared_link_s = 0;  // the same beside compute,
  double stolen_s = 0;       // of which compute loses this much
};

// How long the window takes in which buckets may be exchanged: `compute_s` of forward and backward,
// then the exchange of what is left. Buckets in the order of their exchange. Never below compute_s.
double PredictWindow(double compute_s, absl::Span<const BucketCost> buckets,
                     const SharedCost& shared);

}  // namespace ds
