#include "federated/privacy/noise.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "federated/privacy/discrete_gaussian.h"
#include "federated/privacy/poisson.h"

namespace ds::federated {
namespace {

constexpr double kMostLevels = 1 << 24;

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("privacy: ", what));
}

bool IsPositive(double value) { return value > 0 && std::isfinite(value); }

class GaussianSampler final : public NoiseSampler {
 public:
  GaussianSampler(uint64_t scaled, RandomSource source)
      : gaussian_(scaled), random_(std::move(source)) {}
  void Fill(absl::Span<int32_t> out) override {
    for (int32_t& value : out) value = static_cast<int32_t>(gaussian_.Draw(random_));
  }

 private:
  const DiscreteGaussian gaussian_;
  RandomWords random_;
};

class SkellamSampler final : public NoiseSampler {
 public:
  SkellamSampler(uint64_t scaled, RandomSource source)
      : poisson_(scaled), random_(std::move(source)) {}
  void Fill(absl::Span<int32_t> out) override {
    for (int32_t& value : out)
      value = static_cast<int32_t>(poisson_.Draw(random_) - poisson_.Draw(random_));
  }

 private:
  const Poisson poisson_;
  RandomWords random_;
};

}  // namespace

double RoundedNorm(double norm, int64_t dimension, double beta) {
  DS_CHECK(norm >= 0 && dimension >= 1 && beta > 0 && beta < 1);
  const auto d = static_cast<double>(dimension);
  const double likely = std::sqrt(norm * norm + d / 4 +
                                  std::sqrt(2 * std::log(1 / beta)) * (norm + std::sqrt(d) / 2));
  return std::min(norm + std::sqrt(d), likely);
}

double LargestL1(double norm, int64_t dimension) {
  return norm * std::min(norm, std::sqrt(static_cast<double>(dimension)));
}

absl::StatusOr<NoisePlan> PlanNoise(const NoiseRequest& request) {
  const bool central = request.mechanism == "central";
  if (!central && request.mechanism != "discrete_gaussian" && request.mechanism != "skellam")
    return Refuse(absl::StrCat("mechanism '", request.mechanism,
                               "' draws no noise; choose discrete_gaussian, skellam or central"));
  if (!IsPositive(request.noise_multiplier) || !IsPositive(request.sensitivity))
    return Refuse(absl::StrCat("noise_multiplier ", request.noise_multiplier, " and sensitivity ",
                               request.sensitivity, " must be above 0 and finite"));
  if (request.minimum_sites < 1 || request.maximum_sites < request.minimum_sites)
    return Refuse(absl::StrCat("at least ", request.minimum_sites, " sites of at most ",
                               request.maximum_sites, " cannot share noise"));
  const double deviation = request.noise_multiplier * request.sensitivity;
  const auto share = static_cast<double>(central ? 1 : request.minimum_sites);
  const auto most = static_cast<double>(central ? 1 : request.maximum_sites);
  NoisePlan plan;
  plan.mechanism = request.mechanism;
  // Never less than what was asked for.
  const double unit = static_cast<double>(
      plan.mechanism == "skellam" ? Poisson::kFraction / 2 : DiscreteGaussian::kFraction);
  plan.variance = std::ceil(deviation * deviation / share * unit) / unit;
  // Bernstein's inequality for the sum of all that could be in it: 45 is 65 ln 2.
  const double bound = 15 + std::sqrt(225 + 90 * most * plan.variance);
  if (!(bound <= kMostLevels))
    return Refuse(absl::StrCat("noise of standard deviation ", deviation, " levels from ",
                               request.maximum_sites, " sites reaches ", bound,
                               " levels, more than 2^24; take fewer bits a value, or a smaller "
                               "noise_multiplier"));
  if (plan.mechanism == "skellam" &&
      plan.variance / 2 > double(Poisson::kLargest / Poisson::kFraction))
    return Refuse(absl::StrCat("skellam noise of variance ", plan.variance,
                               " a site is too wide for its table; take discrete_gaussian"));
  plan.bound = static_cast<int64_t>(std::ceil(bound));
  return plan;
}

int NoisyModulusBits(int64_t largest, int64_t bound) {
  DS_CHECK(largest >= 0 && bound >= 0);
  int bits = 1;
  while ((int64_t{1} << bits) <= largest + 2 * bound) ++bits;
  return bits;
}

int64_t UnwrapNoisySum(uint32_t value, int bits, int64_t bound) {
  const int64_t modulus = int64_t{1} << bits;
  return value >= modulus - bound ? value - modulus : value;
}

absl::StatusOr<std::unique_ptr<NoiseSampler>> NoiseSampler::Create(const NoisePlan& plan,
                                                                   RandomSource source) {
  if (source == nullptr) return Refuse("noise needs a source of random bytes");
  const bool skellam = plan.mechanism == "skellam";
  if (!skellam && plan.mechanism != "discrete_gaussian" && plan.mechanism != "central")
    return Refuse(absl::StrCat("mechanism '", plan.mechanism, "' draws no noise"));
  const double unit =
      static_cast<double>(skellam ? Poisson::kFraction / 2 : DiscreteGaussian::kFraction);
  const double scaled = std::ceil(plan.variance * unit);
  const auto largest =
      static_cast<double>(skellam ? Poisson::kLargest : DiscreteGaussian::kLargest);
  if (!(scaled >= 1 && scaled <= largest))
    return Refuse(absl::StrCat("noise of variance ", plan.variance,
                               " cannot be drawn; it must be "
                               "above 0 and at most ",
                               largest / unit));
  if (skellam)
    return std::make_unique<SkellamSampler>(static_cast<uint64_t>(scaled), std::move(source));
  return std::make_unique<GaussianSampler>(static_cast<uint64_t>(scaled), std::move(source));
}

}  // namespace ds::federated
