// What FedProx and SCAFFOLD add to a site's own objective, so that sites with different data do
// not drift apart: a term whose gradient is theirs, through the trainer's Objective.
//   FedProx (Li et al. 2020, section 3.2): gradient += mu (w - w0)
//   SCAFFOLD (Karimireddy et al. 2020, algorithm 1, option II): gradient += c - c_i
#pragma once

#include <cstdint>
#include <vector>

#include "ATen/ATen.h"
#include "absl/types/span.h"
#include "executor/graph_module.h"
#include "federated/update/global_model.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/optim/options.h"

namespace ds::federated {

// mu/2 ||w - w0||² over `module`'s parameters, w0 as they are now.
Objective ProximalObjective(const GraphModule& module, double mu);

// <c - c_i, w>. Both vectors as `layout`; `module` must outlive it.
Objective ControlledObjective(const GraphModule& module, const ModelLayout& layout,
                              absl::Span<const float> control, absl::Span<const float> own_control);

// How far SGD's steps go along a gradient that stands still, over its length: option II divides by
// it, which for plain SGD is the sum of the steps' rates. Momentum carries a step's gradient into
// the later ones, so it goes further. Follows the optimiser step by step; skipped steps are none.
class StepDistance {
 public:
  // `options`: an sgd's.
  explicit StepDistance(const OptimizerOptions& options) : options_(options) {}
  // A step at `learning_rate`, whose gradient was multiplied by `factor` (clipping), 0..1.
  void Add(double learning_rate, double factor);
  double total() const { return total_; }

 private:
  const OptimizerOptions options_;
  double velocity_ = 0, total_ = 0;
};

// The change of the site's variate, c_i+ - c_i = (w0 - w) / distance - c, 0 in statistics.
// All spans as `layout`.
void ControlChange(const ModelLayout& layout, absl::Span<const float> delta,
                   absl::Span<const float> control, double distance, absl::Span<float> change);

}  // namespace ds::federated
