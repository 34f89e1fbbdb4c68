// A site without data: its loss is a quadratic with its own optimum, so that what a federation of
// such sites ends at is known in closed form. For the simulation, tests and benchmarks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "federated/agent/local_trainer.h"

namespace ds::federated {

struct VirtualProblem {
  int64_t parameters = 64;     // >= 1
  double heterogeneity = 1.0;  // deviation of the sites' optima from the common one
  double learning_rate = 0.2;  // of the site's steps, (0, 1]
  int local_steps = 3;
  int64_t samples = 100;  // of the largest site; others have between half of it and all
  uint64_t seed = 1;
};

// The site's optimum, a pure function of (seed, site).
std::vector<float> VirtualOptimum(const VirtualProblem& problem, const std::string& site);
int64_t VirtualSamples(const VirtualProblem& problem, const std::string& site);
// Gradient descent on ½|w - optimum|², with scaffold's correction where there are control variates.
std::unique_ptr<LocalTrainer> MakeVirtualTrainer(const VirtualProblem& problem, std::string site);
// Of version 0: all zero. Shared with the aggregator.
LocalModel VirtualModel(const VirtualProblem& problem);

}  // namespace ds::federated
