#include "trainer/gating/gate_controller.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace ds {
namespace {

constexpr double kBand = GateController::kBand, kRate = GateController::kRate;

TEST(GateController, TheShareThatIsWantedRisesOverTheRamp) {
  const GateController ramp({.share = 0.4, .ramp_steps = 10});
  EXPECT_DOUBLE_EQ(ramp.Wanted(0), 0.04);
  EXPECT_DOUBLE_EQ(ramp.Wanted(4), 0.2);
  EXPECT_DOUBLE_EQ(ramp.Wanted(9), 0.4);
  EXPECT_DOUBLE_EQ(ramp.Wanted(1000), 0.4);
  EXPECT_DOUBLE_EQ(GateController({.share = 0.4, .ramp_steps = 0}).Wanted(0), 0.4);
}

TEST(GateController, TheWeightIsProportionalWithinTheBandAndTheStrengthAdapts) {
  GateController controller({.share = 0.5, .first_strength = 2});
  EXPECT_EQ(controller.weight(), 0) << "nothing is counted yet";
  controller.Update(0, 0, 100);  // far away
  double strength = 2 * std::exp(kRate);
  EXPECT_DOUBLE_EQ(controller.weight(), strength);
  controller.Update(1, 50 - 100 * kBand / 4, 100);  // a quarter of the band below
  strength *= std::exp(-kRate / 4);
  EXPECT_NEAR(controller.weight(), strength / 4, 1e-9);
  controller.Update(2, 50, 100);  // as wanted
  strength *= std::exp(-kRate / 2);
  EXPECT_EQ(controller.weight(), 0);
  controller.Update(3, 90, 100);  // far above: open again
  strength *= std::exp(kRate);
  EXPECT_NEAR(controller.weight(), -strength, 1e-9);
}

TEST(GateController, WhatWasNotCountedChangesNothing) {
  GateController controller({.share = 0.5});
  controller.Update(0, 10, 100);
  const double weight = controller.weight();
  controller.Update(1, 0, 0);
  EXPECT_EQ(controller.weight(), weight);
}

TEST(GateController, TheStrengthStaysWithinBounds) {
  GateController controller({.share = 0.5, .first_strength = 3});
  for (int64_t step = 0; step < 5000; ++step) controller.Update(step, 0, 100);
  EXPECT_DOUBLE_EQ(controller.weight(), 3e4);
  for (int64_t step = 0; step < 5000; ++step) controller.Update(step, 50, 100);
  EXPECT_DOUBLE_EQ(controller.state().strength, 3e-4);
}

TEST(GateController, GoesOnFromItsState) {
  GateController one({.share = 0.3, .ramp_steps = 50});
  for (int64_t step = 0; step < 20; ++step) one.Update(step, static_cast<double>(step), 300);
  GateController two({.share = 0.3, .ramp_steps = 50});
  two.set_state(one.state());
  EXPECT_EQ(two.weight(), one.weight());
  for (int64_t step = 20; step < 60; ++step) {
    one.Update(step, 35, 300);
    two.Update(step, 35, 300);
    EXPECT_EQ(two.weight(), one.weight());
  }
}

// One layer's saliencies, that SGD with momentum moves by the penalty's gradient (gate_watch.h) and
// by pulls of their own; one that is 0 stays so.
class Layer {
 public:
  explicit Layer(uint64_t seed) : gates_(1000), speed_(gates_.size()), pull_(gates_.size()) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    for (size_t i = 0; i < gates_.size(); ++i) {
      gates_[i] = 1 + 0.3 * normal(random);
      pull_[i] = 1e-3 * std::abs(normal(random));
    }
  }

  // A step with this weight times the penalty's gradient; the share that is 0 now.
  double Step(double weight) {
    double m = 0, q = 0, zeros = 0;
    for (const double s : gates_) {
      m += s / 1000;
      q += s * s / 1000;
    }
    q = std::sqrt(q + 1e-12);
    for (size_t i = 0; i < gates_.size(); ++i) {
      double& s = gates_[i];
      if (s > 0) {
        const double gradient = 1 / q - m * s / (q * q * q);
        speed_[i] = 0.9 * speed_[i] + 1e-2 * (pull_[i] * (1 - s) - weight * gradient);
        s = std::max(0.0, s + speed_[i]);
      }
      zeros += s == 0 ? 1 : 0;
    }
    return zeros / 1000;
  }

 private:
  std::vector<double> gates_, speed_, pull_;
};

// From a penalty that moves gates by 1 in a step to one that moves them by a ten-thousandth of it.
TEST(GateController, ReachesTheShareWhateverAUnitOfPenaltyMoves) {
  for (const double unit : {1e-4, 1e-3, 1e-2, 1e-1, 1.0}) {
    for (const double share : {0.2, 0.5, 0.8}) {
      Layer layer(/*seed=*/3);
      GateController controller({.share = share, .ramp_steps = 1000});
      double zeros = 0;
      for (int64_t step = 0; step < 2000; ++step) {
        zeros = layer.Step(controller.weight() * unit);
        controller.Update(step, 1000 * zeros, 1000);
      }
      EXPECT_NEAR(zeros, share, kBand) << "unit " << unit;
    }
  }
}

}  // namespace
}  // namespace ds
