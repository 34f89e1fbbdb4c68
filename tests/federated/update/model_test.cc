// A model, its sites and its rounds in one process: sums against a serial reference in double,
// digests, damage.
#include <cmath>
#include <functional>

#include "base/random.h"
#include "federated/update/global_model.h"
#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

// Every site sends its update; the sum is what the aggregator publishes.
TEST(FederatedModelTest, TheMeanIsTheWeightedMeanOfTheUpdates) {
  for (const int bits : {4, 8, 16}) {
    RunOptions options = Options(bits);
    const auto model = Made(options, 3, 100);
    const std::vector<float> before(model->weights().begin(), model->weights().end());
    // Twice, so that the scales are right the second time.
    std::vector<std::vector<float>> residuals(3);
    for (int round = 0; round < 2; ++round) {
      const std::vector<float> start(model->weights().begin(), model->weights().end());
      std::vector<double> mean(start.size());
      Published published = {.version = model->version() + 1};
      std::vector<IntegerVector> updates;
      const int64_t samples[] = {100, 50, 10};
      for (int site = 0; site < 3; ++site) {
        const std::vector<float> delta = Noise(start.size(), 0.01f, 7 * round + site);
        for (size_t i = 0; i < delta.size(); ++i) {
          const double residual = residuals[site].empty() ? 0 : residuals[site][i];
          mean[i] += (delta[i] * static_cast<double>(samples[site]) / 100 + residual) / 1.6;
        }
        updates.push_back(*model->Encode(delta, {.samples = samples[site]}, residuals[site], 1,
                                         &residuals[site]));
        // What was not said is what is left.
        for (size_t i = 0; i < delta.size(); ++i) mean[i] -= residuals[site][i] / 1.6;
      }
      SiteMetrics sums;
      int64_t sites = 0;
      ASSERT_TRUE(model->Advance(Summed(*model, updates), &sums, &sites).ok());
      EXPECT_EQ(sums.samples, 160);
      EXPECT_EQ(sites, 3);
      for (size_t i = 0; i < start.size(); ++i)
        ASSERT_NEAR(model->weights()[i], start[i] + mean[i], 2e-6) << bits << " bits, weight " << i;
    }
  }
}

}  // namespace
}  // namespace ds::federated
