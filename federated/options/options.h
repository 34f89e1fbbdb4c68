// What a federated run is, as the aggregator's configuration says and every site sees before it
// joins: plain values, checked together by CheckRunOptions (federated/strategy/check_options.h).
// Torch-free, gRPC-free.
#pragma once

#include <cstdint>
#include <string>

namespace ds::federated {

// One round, and who takes part (docs/federated.md).
struct RoundOptions {
  int64_t rounds = 10;      // to publish, >= 1
  int64_t goal = 0;         // updates a round waits for; 0: every site that was selected
  int64_t minimum = 1;      // updates without which a round is abandoned at its deadline, >= 1
  int64_t wait_for = 1;     // sites that must have joined before the first round, >= minimum
  double sample = 1.0;      // share of the sites present that is selected, (0, 1]
  int64_t spare = 0;        // sites selected beyond the goal
  double deadline_s = 600;  // of a round's training and upload together, > 0
  double unmask_deadline_s = 60;   // of the second trip, and of each step of a set-up, > 0
  int64_t abandoned_in_a_row = 3;  // rounds, after which the run ends as failed, >= 1
};

// docs/federated.md, "Strategies"
struct StrategyOptions {
  std::string name = "fedavg";        // of the registry (federated/strategy/registry.h)
  double server_learning_rate = 1.0;  // > 0
  double momentum = 0.9;              // fedavgm; the first moment's decay of fedadam and fedyogi
  double second_moment = 0.99;        // fedadam, fedyogi
  double epsilon = 1e-3;              // fedadam, fedyogi: tau of Reddi et al. 2021
  double proximal = 0.01;             // fedprox: mu, >= 0
  double trim = 0.1;                  // trimmed_mean: share left out at each end, [0, 0.5)
  int64_t byzantine = 1;              // krum, multi_krum: sites assumed to be hostile, >= 0
  int64_t buffer = 4;                 // fedbuff: updates a publication
  int64_t max_staleness = 10;         // fedbuff: older updates are refused
};

// How an update becomes integers (federated/update/grid.h).
struct UpdateOptions {
  int bits = 8;                       // a value, 1..16
  std::string weighting = "samples";  // samples | equal
  int64_t samples_reference = 0;  // samples that weigh 1; 0: the largest count that a site declares
  bool declare_samples =
      true;  // sites name their sample counts when they join; else only their sum is learnt
  bool error_feedback = true;
  bool rotate = true;    // randomised Hadamard transform over blocks
  double clip_norm = 0;  // L2 of a site's update before it is weighted; 0: off
};

struct SecureOptions {
  std::string mode = "off";      // off | on | strict (docs/federated-security.md)
  int64_t rounds_a_setup = 16;   // R: keys made in one batch
  int64_t colluders = 1;         // c: 2t > N + c is held
  int64_t threshold = 0;         // t; 0: the least that holds it
  int64_t least_difference = 1;  // survivor sets that differ from an earlier one by so few sites or
                                 // fewer, and are not equal, are named, or refused; 0: none
  bool refuse_close_sets = false;
};

struct PrivacyOptions {
  std::string mechanism = "none";  // none | discrete_gaussian | skellam (on the sites) | central
                                   // (inside the published sum)
  double noise_multiplier = 1.0;   // standard deviation over sensitivity
  double delta = 1e-5;
  double epsilon_budget = 0;  // the run stops before it is exceeded; 0: no budget
  // The sites' metrics (SiteMetrics) are summed without noise all the same.
  bool declare_metrics = false;
};

struct RunOptions {
  uint64_t seed = 1;
  RoundOptions round;
  StrategyOptions strategy;
  UpdateOptions update;
  SecureOptions secure;
  PrivacyOptions privacy;
};

}  // namespace ds::federated
