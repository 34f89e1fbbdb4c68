// Training to the end on few bits: error feedback brings what full precision brings, from a bad
// first guess of the scales too.
#include <cmath>

#include "gtest/gtest.h"
#include "tests/federated/update/sites.h"

namespace ds::federated {
namespace {

constexpr int kSites = 4;
constexpr size_t kSize = 3000;

// Site k's loss is sum of a_i (x_i - b_i)^2 / 2; curvatures a from 0.2 to 1, minima b apart from
// site to site. A round is a few steps of gradient descent from the global model.
class Quadratics {
 public:
  explicit Quadratics(float size) : size_(size) {
    for (int site = 0; site < kSites; ++site) {
      minima_.push_back(Noise(kSize, size, static_cast<uint64_t>(50 + site)));
      curvatures_.push_back(Noise(kSize, 0.2f, static_cast<uint64_t>(60 + site)));
      for (float& a : curvatures_.back()) a = 0.2f + std::min(0.8f, std::fabs(a));
    }
  }

  std::vector<float> Delta(int site, absl::Span<const float> weights) const {
    std::vector<float> delta(kSize);
    for (size_t i = 0; i < kSize; ++i) {
      float x = weights[i];
      for (int step = 0; step < 5; ++step)
        x -= 0.1f * curvatures_[site][i] * (x - minima_[site][i]);
      delta[i] = x - weights[i];
    }
    return delta;
  }

  // Root mean square distance of `weights` from where averaging in floats ends.
  double Distance(absl::Span<const float> weights) const {
    std::vector<float> x(kSize);
    for (int round = 0; round < 300; ++round) {
      std::vector<float> mean(kSize);
      for (int site = 0; site < kSites; ++site) {
        const std::vector<float> delta = Delta(site, x);
        for (size_t i = 0; i < kSize; ++i) mean[i] += delta[i] / kSites;
      }
      for (size_t i = 0; i < kSize; ++i) x[i] += mean[i];
    }
    double squares = 0;
    for (size_t i = 0; i < kSize; ++i) squares += (weights[i] - x[i]) * (weights[i] - x[i]);
    return std::sqrt(squares / kSize) / static_cast<double>(size_);
  }

 private:
  const float size_;
  std::vector<std::vector<float>> minima_, curvatures_;
};

// Trains for `rounds` rounds; the last model, and the mean of the models of the last `averaged`.
struct Trained {
  std::vector<float> last;
  std::vector<float> mean;
};

Trained Train(const Quadratics& sites, const RunOptions& options, int rounds, int averaged,
              float weights_size) {
  const ModelLayout layout = {{{.name = "a", .count = 2000}, {.name = "b", .count = 1000}}};
  auto model = *GlobalModel::Create(layout, Noise(kSize, weights_size, 1), options, kSites, 1);
  std::vector<std::vector<float>> residuals(kSites);
  std::vector<double> sum(kSize);
  for (int round = 0; round < rounds; ++round) {
    std::vector<IntegerVector> updates;
    for (int site = 0; site < kSites; ++site) {
      updates.push_back(*model->Encode(sites.Delta(site, model->weights()), {.samples = 1},
                                       residuals[site], static_cast<uint64_t>(site),
                                       &residuals[site]));
    }
    EXPECT_TRUE(model->Advance(Summed(*model, updates), nullptr, nullptr).ok());
    for (size_t i = 0; round >= rounds - averaged && i < kSize; ++i) sum[i] += model->weights()[i];
  }
  Trained trained = {.last = {model->weights().begin(), model->weights().end()}};
  for (const double total : sum) trained.mean.push_back(static_cast<float>(total / averaged));
  return trained;
}

struct Bound {
  int bits;
  double last, mean;  // distances, of the sites' size
};

// The sites pull apart, so at the end each still sends something, and each sum has the grid's error
// in it; but what an error took from one model is in the next.
TEST(FederatedConvergenceTest, FewBitsEndWhereFullPrecisionDoes) {
  const Quadratics sites(1);
  for (const Bound& bound : {Bound{1, 0.1, 0.01}, Bound{2, 0.04, 0.003}, Bound{4, 0.012, 0.001},
                             Bound{8, 0.0012, 1e-4}, Bound{16, 1e-5, 1e-6}}) {
    const Trained with = Train(sites, Options(bound.bits), 160, 60, 0.1f);
    RunOptions without = Options(bound.bits);
    without.update.error_feedback = false;
    const Trained plain = Train(sites, without, 160, 60, 0.1f);
    std::printf("%2d bits: last %.3g, mean %.3g; without error feedback %.3g, %.3g\n", bound.bits,
                sites.Distance(with.last), sites.Distance(with.mean), sites.Distance(plain.last),
                sites.Distance(plain.mean));
    EXPECT_LT(sites.Distance(with.last), bound.last) << bound.bits;
    EXPECT_LT(sites.Distance(with.mean), bound.mean) << bound.bits;
    EXPECT_LT(sites.Distance(with.mean), sites.Distance(plain.mean)) << bound.bits;
  }
}

// The first scales follow from weights of size 1; the updates are of any size.
TEST(FederatedConvergenceTest, ABadFirstGuessOfTheScalesIsMadeUpFor) {
  for (const float size : {1e-6f, 1e-3f, 1e3f, 1e6f}) {
    const Quadratics sites(size);
    for (const int bits : {2, 4, 8}) {
      const Trained trained = Train(sites, Options(bits), 250, 1, 1.0f);
      EXPECT_LT(sites.Distance(trained.last), bits == 2   ? 0.04
                                              : bits == 4 ? 0.012
                                                          : 0.0012)
          << "size " << size << ", " << bits << " bits";
    }
  }
}

}  // namespace
}  // namespace ds::federated
