// The accountant against closed forms and against divergences added up term by term; epsilons of a
// published accountant are in accountant_peer_test.py.
#include "federated/privacy/accountant.h"

#include <cmath>
#include <limits>
#include <vector>

#include "federated/privacy/rdp.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds::federated {
namespace {

using ::testing::HasSubstr;

Release Of(const std::string& mechanism, double sensitivity, double variance) {
  Release release;
  release.mechanism = mechanism;
  release.sensitivity = sensitivity;
  release.variance = variance;
  return release;
}

std::vector<double> RdpOf(const Release& release) {
  Accountant accountant;
  const absl::Status status = accountant.Add(release);
  EXPECT_TRUE(status.ok()) << status;
  return accountant.rdp();
}

TEST(Accountant, ReleasesAddUp) {
  Accountant one, many;
  const Release release = Of("gaussian", 2, 36);
  ASSERT_TRUE(one.Add(release, 7).ok());
  for (int i = 0; i < 7; ++i) ASSERT_TRUE(many.Add(release).ok());
  for (size_t i = 0; i < one.rdp().size(); ++i) {
    EXPECT_NEAR(one.rdp()[i], 7 * Accountant::Orders()[i] / (2 * 9.0), 1e-9);
    EXPECT_NEAR(one.rdp()[i], many.rdp()[i], 1e-9);
  }
  EXPECT_GT(one.Epsilon(1e-6), one.Epsilon(1e-5));
  EXPECT_EQ(Accountant().Epsilon(1e-5), 0);
}

// Rényi divergence of integer distributions a whole step apart, by its definition.
double Divergence(const std::vector<double>& log_chances, int shift, double order) {
  double sum = -std::numeric_limits<double>::infinity();
  for (size_t i = shift; i < log_chances.size(); ++i)
    sum = LogAdd(sum, order * log_chances[i] + (1 - order) * log_chances[i - shift]);
  return sum / (order - 1);
}

std::vector<double> GaussianLog(double variance) {
  std::vector<double> logs;
  double sum = -std::numeric_limits<double>::infinity();
  for (int x = -2000; x <= 2000; ++x) {
    logs.push_back(-x * x / (2 * variance));
    sum = LogAdd(sum, logs.back());
  }
  for (double& value : logs) value -= sum;
  return logs;
}

std::vector<double> SkellamLog(double variance) {
  std::vector<double> logs;
  for (int x = -300; x <= 300; ++x) {
    double sum = -std::numeric_limits<double>::infinity();
    for (int k = std::max(0, -x); k < 700; ++k)
      sum = LogAdd(sum, (2 * k + x) * std::log(variance / 2) - variance - std::lgamma(k + x + 1.0) -
                            std::lgamma(k + 1.0));
    logs.push_back(sum);
  }
  return logs;
}

TEST(Accountant, NeverSaysLessThanADiscreteMechanismCosts) {
  const std::vector<double> gaussian = GaussianLog(25), skellam = SkellamLog(25);
  const std::vector<double> said_gaussian = RdpOf(Of("central", 3, 25));
  const std::vector<double> said_skellam = RdpOf(Of("skellam", 3, 25));
  for (size_t i = 0; i < Accountant::Orders().size(); ++i) {
    const double order = Accountant::Orders()[i];
    if (order > 32) break;
    EXPECT_GE(said_gaussian[i], Divergence(gaussian, 3, order) - 1e-9) << order;
    EXPECT_GE(said_skellam[i], Divergence(skellam, 3, order) - 1e-9) << order;
    if (order == std::floor(order)) {
      EXPECT_LT(said_gaussian[i], 1.02 * Divergence(gaussian, 3, order)) << order;
      EXPECT_TRUE(order > 8 || said_skellam[i] < 1.25 * Divergence(skellam, 3, order)) << order;
    }
  }
}

// A sum of four sites' shares, as it is distributed in truth.
TEST(Accountant, SharedDiscreteGaussianCoversTheSumOfShares) {
  const double share = 1;
  const std::vector<double> one = GaussianLog(share);
  std::vector<double> sum = one;
  const int middle = 2000, reach = 60;
  for (int site = 1; site < 4; ++site) {
    std::vector<double> next(one.size(), -1e9);
    for (int x = -reach; x <= reach; ++x) {
      double chance = -std::numeric_limits<double>::infinity();
      for (int y = -reach; y <= reach; ++y)
        if (std::abs(x - y) <= reach)
          chance = LogAdd(chance, sum[middle + x - y] + one[middle + y]);
      next[middle + x] = chance;
    }
    sum = next;
  }
  const std::vector<double> inner(sum.begin() + middle - reach, sum.begin() + middle + reach + 1);
  Release release = Of("discrete_gaussian", 1, 4 * share);
  release.sharers = 4;
  const std::vector<double> said = RdpOf(release);
  for (size_t i = 0; i < said.size() && Accountant::Orders()[i] <= 8; ++i)
    EXPECT_GE(said[i], Divergence(inner, 1, Accountant::Orders()[i]) - 1e-6);
}

TEST(Accountant, ManySharesOfEnoughNoiseCostWhatOneWould) {
  Release release = Of("discrete_gaussian", 50, 10000);
  const std::vector<double> one = RdpOf(release);
  release.sharers = 100;
  release.dimension = 10000000;
  const std::vector<double> shared = RdpOf(release);
  for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(shared[i], one[i], 1e-6 * one[i]);
}

TEST(Accountant, SamplingLessensTheCost) {
  for (const char* mechanism : {"gaussian", "central", "skellam", "discrete_gaussian"}) {
    Release release = Of(mechanism, 10, 10000);
    const std::vector<double> all = RdpOf(release);
    release.sampling = "fixed";
    release.sampling_rate = 1;
    EXPECT_EQ(RdpOf(release), all);
    release.sampling_rate = 0.05;
    const std::vector<double> some = RdpOf(release);
    EXPECT_LT(some[50], 0.2 * all[50]) << mechanism;
    for (const double rdp : some) EXPECT_GE(rdp, 0) << mechanism;
  }
}

// Poisson sampling of the Gaussian, against its integral.
TEST(Accountant, PoissonSamplingIsItsIntegralOrMore) {
  for (const double q : {0.01, 0.3}) {
    for (const double sigma : {0.8, 2.0}) {
      for (const double order : {1.5, 2.0, 4.7, 8.0}) {
        double sum = 0;
        const double step = sigma / 64;
        for (double x = -20 * sigma; x <= 20 * sigma + 20; x += step) {
          const double base = std::exp(-x * x / (2 * sigma * sigma));
          const double ratio = 1 - q + q * std::exp((2 * x - 1) / (2 * sigma * sigma));
          sum += base * std::pow(ratio, order) * step;
        }
        const double exact = std::log(sum / (sigma * std::sqrt(2 * M_PI))) / (order - 1);
        const double said = PoissonGaussianRdp(q, sigma, order);
        // Between integers it is an upper bound, and at times knows none.
        EXPECT_GE(said, exact * (1 - 1e-6)) << q << " " << sigma << " " << order;
        if (order == std::floor(order)) {
          EXPECT_LE(said, exact * (1 + 1e-6)) << q << " " << sigma << " " << order;
        }
      }
    }
  }
}

TEST(Accountant, RefusesWhatItCannotCount) {
  const auto refused = [](Release release) {
    Accountant accountant;
    const absl::Status status = accountant.Add(release);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(accountant.Epsilon(1e-5), 0);
    return std::string(status.message());
  };
  EXPECT_THAT(refused(Of("none", 1, 1)), HasSubstr("mechanism 'none' is not known"));
  refused(Of("skellam", 0, 1));
  refused(Of("skellam", 1, -1));
  refused(Of("skellam", std::nan(""), 1));
  refused(Of("skellam", 1, std::numeric_limits<double>::infinity()));
  Release release = Of("discrete_gaussian", 1, 1);
  release.sharers = 8;
  EXPECT_THAT(refused(release), HasSubstr("0.125"));
  release = Of("skellam", 1, 1);
  release.sampling_rate = 0.5;
  refused(release);
  release.sampling = "poisson";
  EXPECT_THAT(refused(release), HasSubstr("take fixed"));
  release.sampling = "lottery";
  refused(release);
  release.sampling = "fixed";
  release.sampling_rate = 0;
  refused(release);
  Accountant accountant;
  EXPECT_FALSE(accountant.Add(Of("skellam", 1, 1), 0).ok());
}

}  // namespace
}  // namespace ds::federated
