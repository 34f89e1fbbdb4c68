// The server's optimisers against their formulas in double, and scaffold's control variate.
#include "federated/update/server_step.h"

#include <cmath>

#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

RunOptions With(const std::string& strategy) {
  RunOptions options = Options(16);
  options.strategy.name = strategy;
  options.strategy.server_learning_rate = 0.3;
  return options;
}

// Algorithm 2 of Reddi et al. 2021, and FedAvgM's heavy ball; one element.
struct Reference {
  std::string strategy;
  double x = 0, m = 0, v = 1e-6;

  void Step(double delta) {
    if (strategy == "fedavgm") {
      m = 0.9 * m + delta;
      x += 0.3 * m;
    } else if (strategy == "fedavg") {
      x += 0.3 * delta;
    } else {
      m = 0.9 * m + 0.1 * delta;
      const double square = delta * delta;
      if (strategy == "fedadam") v = 0.99 * v + 0.01 * square;
      if (strategy == "fedyogi") v -= 0.01 * square * (v > square ? 1 : v < square ? -1 : 0);
      x += 0.3 * m / (std::sqrt(v) + 1e-3);
    }
  }
};

TEST(ServerStepTest, OptimisersAreTheirFormulas) {
  const ModelLayout layout = {{{.name = "a", .count = 700}}};
  for (const char* strategy : {"fedavg", "fedavgm", "fedadam", "fedyogi"}) {
    auto model = Made(With(strategy), 2, 1, layout);
    std::vector<Reference> references(700);
    for (size_t i = 0; i < 700; ++i) references[i] = {strategy, model->weights()[i]};
    std::vector<float> residual;
    for (uint64_t round = 0; round < 20; ++round) {
      const std::vector<float> before = residual, delta = Noise(700, 0.01f, round);
      const auto update = model->Encode(delta, {.samples = 1}, before, 1, &residual);
      ASSERT_TRUE(update.ok()) << update.status();
      for (size_t i = 0; i < 700; ++i) {
        const double carried = before.empty() ? 0 : before[i];
        references[i].Step(delta[i] + carried - residual[i]);
      }
      ASSERT_TRUE(model->Advance(Summed(*model, {*update}), nullptr, nullptr).ok());
      for (size_t i = 0; i < 700; ++i)
        ASSERT_NEAR(model->weights()[i], references[i].x, 3e-5 * (1 + std::fabs(references[i].x)))
            << strategy << ", round " << round << ", weight " << i;
    }
  }
}

// Karimireddy et al. 2020: c moves by the sum of the sites' changes over all sites, weights by the
// mean of those that took part, whatever the sites' samples.
TEST(ServerStepTest, ScaffoldsControlIsTheMeanOverAllSites) {
  RunOptions options = With("scaffold");
  options.strategy.server_learning_rate = 1;
  const auto model = Made(options, 4, 100);
  const size_t size = model->weights().size();
  ASSERT_EQ(model->control().size(), size);
  std::vector<double> expected(size);
  std::vector<std::vector<float>> residuals(2);
  for (uint64_t round = 0; round < 6; ++round) {
    std::vector<IntegerVector> updates;
    for (size_t site = 0; site < 2; ++site) {  // of four
      std::vector<float> both = Noise(2 * size, 0.01f, 10 * round + site);
      const std::vector<float> before = residuals[site];
      updates.push_back(
          *model->Encode(both, {.samples = site == 0 ? 100 : 10}, before, 1, &residuals[site]));
      for (size_t i = 0; i < size; ++i) {
        const double carried = before.empty() ? 0 : before[size + i];
        expected[i] += (both[size + i] + carried - residuals[site][size + i]) / 4;
      }
    }
    ASSERT_TRUE(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
  }
  for (size_t i = 0; i < size; ++i) {
    const bool statistic = i >= 1507 && i < 1521;
    ASSERT_NEAR(model->control()[i], statistic ? 0 : expected[i], 1e-6) << i;
  }
}

}  // namespace
}  // namespace ds::federated
