#include "trainer/gating/gate_controller.h"

#include <algorithm>
#include <cmath>

namespace ds {
namespace {

// How far the strength may go from where it started.
constexpr double kMostChange = 1e4;

}  // namespace

GateController::GateController(const GateControllerOptions& options)
    : options_(options), strength_(options.first_strength) {}

double GateController::Wanted(int64_t step) const {
  const double done = static_cast<double>(step + 1);
  return done >= options_.ramp_steps ? options_.share : options_.share * done / options_.ramp_steps;
}

void GateController::Update(int64_t step, double zeros, double gates) {
  if (gates <= 0) return;
  const double error = (Wanted(step) - zeros / gates) / kBand;
  const double change = std::clamp(std::abs(error) - 0.5, -0.5, 1.0);
  strength_ =
      std::clamp(strength_ * std::exp(kRate * change), options_.first_strength / kMostChange,
                 options_.first_strength * kMostChange);
  weight_ = strength_ * std::clamp(error, -1.0, 1.0);
}

void GateController::set_state(const State& state) {
  strength_ = state.strength;
  weight_ = state.weight;
}

}  // namespace ds
