#include "federated/simulate/virtual_trainer.h"

#include <utility>

#include "base/random.h"

namespace ds::federated {
namespace {

constexpr uint64_t kCommonStream = 0;

class VirtualTrainer final : public LocalTrainer {
 public:
  VirtualTrainer(const VirtualProblem& problem, const std::string& site)
      : problem_(problem),
        optimum_(VirtualOptimum(problem, site)),
        samples_(VirtualSamples(problem, site)) {}

  absl::StatusOr<LocalModel> Open(const RunOffer&, const std::string&) override {
    LocalModel model = VirtualModel(problem_);
    model.samples = samples_;
    return model;
  }

  absl::StatusOr<TrainedUpdate> Train(int64_t, absl::Span<const float> weights,
                                      absl::Span<const float> control,
                                      absl::Span<const float> own_control) override {
    const auto rate = static_cast<float>(problem_.learning_rate);
    const size_t count = weights.size();
    TrainedUpdate update;
    update.delta.resize(count + own_control.size());
    double loss = 0;
    for (size_t i = 0; i < count; ++i) {
      const float correction = own_control.empty() ? 0.0f : control[i] - own_control[i];
      float weight = weights[i];
      loss += 0.5 * static_cast<double>(weight - optimum_[i]) * (weight - optimum_[i]);
      for (int step = 0; step < problem_.local_steps; ++step)
        weight -= rate * (weight - optimum_[i] + correction);
      update.delta[i] = weight - weights[i];
      // Option II of Karimireddy et al. 2020: c_i+ = c_i - c + (x - y) / (K lr).
      if (!own_control.empty())
        update.delta[count + i] =
            -control[i] - update.delta[i] / (static_cast<float>(problem_.local_steps) * rate);
    }
    update.metrics.samples = samples_;
    update.metrics.train_loss = loss / static_cast<double>(count);
    return update;
  }

 private:
  const VirtualProblem problem_;
  const std::vector<float> optimum_;
  const int64_t samples_;
};

}  // namespace

std::vector<float> VirtualOptimum(const VirtualProblem& problem, const std::string& site) {
  CounterRandom common(problem.seed, kCommonStream);
  CounterRandom own(problem.seed, StreamOf(site.data(), site.size()));
  std::vector<float> optimum(static_cast<size_t>(problem.parameters));
  for (float& value : optimum)
    value = static_cast<float>(common.NextNormal() + problem.heterogeneity * own.NextNormal());
  return optimum;
}

int64_t VirtualSamples(const VirtualProblem& problem, const std::string& site) {
  CounterRandom random(problem.seed, StreamOf(site.data(), site.size()), 1);
  return problem.samples -
         static_cast<int64_t>(random.NextDouble() * static_cast<double>(problem.samples / 2));
}

std::unique_ptr<LocalTrainer> MakeVirtualTrainer(const VirtualProblem& problem, std::string site) {
  return std::make_unique<VirtualTrainer>(problem, site);
}

LocalModel VirtualModel(const VirtualProblem& problem) {
  LocalModel model;
  model.layout.slots = {{.name = "w", .count = problem.parameters}};
  model.weights.assign(static_cast<size_t>(problem.parameters), 0.0f);
  return model;
}

}  // namespace ds::federated
