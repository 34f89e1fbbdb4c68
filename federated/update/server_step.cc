#include "federated/update/server_step.h"

#include <cmath>

namespace ds::federated {
namespace {

// One loop for both: `second_moment(v, square)` is all that differs.
template <typename SecondMoment>
void Adaptive(const float* delta, int64_t count, float rate, float momentum, float epsilon,
              float* weights, float* first, float* second, const SecondMoment& second_moment) {
  const float fresh = 1.0f - momentum;
  for (int64_t i = 0; i < count; ++i) {
    first[i] = momentum * first[i] + fresh * delta[i];
    second[i] = second_moment(second[i], delta[i] * delta[i]);
    weights[i] += rate * first[i] / (std::sqrt(second[i]) + epsilon);
  }
}

}  // namespace

ServerStep::ServerStep(const StrategyOptions& options)
    : kind_(options.name == "fedavgm"   ? Kind::kMomentum
            : options.name == "fedadam" ? Kind::kAdam
            : options.name == "fedyogi" ? Kind::kYogi
                                        : Kind::kAverage),
      rate_(static_cast<float>(options.server_learning_rate)),
      momentum_(static_cast<float>(options.momentum)),
      decay_(static_cast<float>(options.second_moment)),
      epsilon_(static_cast<float>(options.epsilon)) {}

int ServerStep::moments() const {
  return kind_ == Kind::kAverage ? 0 : kind_ == Kind::kMomentum ? 1 : 2;
}

void ServerStep::Apply(const float* delta, int64_t count, float* weights, float* first,
                       float* second) const {
  const float fresh = 1.0f - decay_;
  switch (kind_) {
    case Kind::kAverage:
      for (int64_t i = 0; i < count; ++i) weights[i] += rate_ * delta[i];
      return;
    case Kind::kMomentum:
      for (int64_t i = 0; i < count; ++i) {
        first[i] = momentum_ * first[i] + delta[i];
        weights[i] += rate_ * first[i];
      }
      return;
    case Kind::kAdam:
      return Adaptive(delta, count, rate_, momentum_, epsilon_, weights, first, second,
                      [&](float v, float square) { return decay_ * v + fresh * square; });
    case Kind::kYogi:
      return Adaptive(delta, count, rate_, momentum_, epsilon_, weights, first, second,
                      [&](float v, float square) {
                        const float change = fresh * square;
                        return v > square ? v - change : v < square ? v + change : v;
                      });
  }
}

}  // namespace ds::federated
