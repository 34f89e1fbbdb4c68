// How strongly gates are pushed shut: the penalty's weight, steered so that the share of gates that
// are 0 follows a given course. Each step's share is counted over all ranks, in whole numbers, so
// that every rank computes the same weight, and a resumed run the one it would have had.
//
// The course rises linearly from 0 to `share` over `ramp_steps`, so that gates close a few at a
// time, the least needed first. With error = wanted - counted:
//
//   weight = strength * clamp(error / kBand, -1, 1)
//   strength *= exp(kRate * clamp(|error| / kBand - 1/2, -1/2, 1)), in [1e-4, 1e4] * its start
//
// that is: proportional within a narrow band around the course, with a strength that grows as long
// as the share is not within half the band, and falls while it is. So nobody need know how much one
// unit of penalty moves: that depends on the optimiser, its rate and the number of gates. A
// negative weight opens gates again that are open for some images; a gate that is 0 for every image
// has no gradient and stays shut.
#pragma once

#include <cstdint>

namespace ds {

struct GateControllerOptions {
  double share = 0.3;         // wanted at the end, (0, 1)
  double ramp_steps = 0;      // until then the course rises; 0: `share` from the first step on
  double first_strength = 1;  // > 0
};

class GateController {
 public:
  static constexpr double kBand = 0.02;  // of the share
  static constexpr double kRate = 0.01;  // a step

  explicit GateController(const GateControllerOptions& options);
  // After optimiser step `step` (0-based), in which `zeros` of `gates` were 0.
  void Update(int64_t step, double zeros, double gates);
  // What the next step's penalty is multiplied by.
  double weight() const { return weight_; }
  // The share that is wanted in step `step`.
  double Wanted(int64_t step) const;

  // All that the next step depends on.
  struct State {
    double strength = 0, weight = 0;
  };
  State state() const { return {strength_, weight_}; }
  void set_state(const State& state);

 private:
  GateControllerOptions options_;
  double strength_;
  double weight_ = 0;  // nothing is counted before the first step
};

}  // namespace ds
