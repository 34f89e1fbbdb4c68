#include "federated/privacy/accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "federated/privacy/noise.h"
#include "federated/privacy/rdp.h"

namespace ds::federated {
namespace {

// A share of noise narrower than this is none that the theorem knows.
constexpr double kLeastShareVariance = 0.25;

absl::Status Refuse(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("privacy accountant: ", what));
}

absl::Status CheckRelease(const Release& release) {
  const auto positive = [](double value) { return value > 0 && std::isfinite(value); };
  if (!positive(release.sensitivity) || !positive(release.variance))
    return Refuse(absl::StrCat("sensitivity ", release.sensitivity, " and variance ",
                               release.variance, " must be above 0 and finite"));
  if (release.sharers < 1 || release.dimension < 1)
    return Refuse(absl::StrCat(release.sharers, " sharers and ", release.dimension,
                               " values; both must be at least 1"));
  const bool sampled = release.sampling != "none";
  if (!(release.sampling_rate > 0 && release.sampling_rate <= 1) ||
      (!sampled && release.sampling_rate != 1))
    return Refuse(absl::StrCat("a sampling rate of ", release.sampling_rate, " with sampling '",
                               release.sampling, "'; it lies in (0, 1], and is 1 with 'none'"));
  if (sampled && release.sampling != "fixed" && release.sampling != "poisson")
    return Refuse(absl::StrCat("sampling '", release.sampling,
                               "' is not known; there are none, fixed and poisson"));
  if (release.sampling == "poisson" && release.mechanism != "gaussian")
    return Refuse(absl::StrCat("no bound is known here for Poisson sampling with mechanism '",
                               release.mechanism, "'; take fixed"));
  const bool shared = release.mechanism == "discrete_gaussian" && release.sharers > 1;
  if (shared && release.variance / static_cast<double>(release.sharers) < kLeastShareVariance)
    return Refuse(absl::StrCat("each site's share of the discrete Gaussian has a variance of ",
                               release.variance / static_cast<double>(release.sharers),
                               " levels², less than ", kLeastShareVariance,
                               "; take skellam, more bits a value or more noise"));
  return absl::OkStatus();
}

RdpCurve Gaussian(double sensitivity, double variance) {
  return [=](double order) { return order * sensitivity * sensitivity / (2 * variance); };
}

// Proposition 14 of Kairouz, Liu, Steinke 2021: concentrated differential privacy of the sum.
RdpCurve SharedDiscreteGaussian(const Release& release, double sensitivity) {
  const auto d = static_cast<double>(release.dimension);
  const double share = release.variance / static_cast<double>(release.sharers);
  double tau = 0;
  for (int64_t k = 1; k < release.sharers; ++k) {
    const double term = 10 * std::exp(-2 * M_PI * M_PI * share * static_cast<double>(k) /
                                      static_cast<double>(k + 1));
    tau += term;
  }
  const double epsilon =
      std::min(std::sqrt(sensitivity * sensitivity / release.variance + 0.5 * tau * d),
               sensitivity / std::sqrt(release.variance) + tau * std::sqrt(d));
  return [=](double order) { return 0.5 * epsilon * epsilon * order; };
}

// Agarwal, Kairouz, Liu 2021, "The Skellam mechanism for differentially private federated
// learning", theorem 3.5, of integer orders; the divergence grows with the order.
RdpCurve Skellam(const Release& release, double sensitivity) {
  const double variance = release.variance;
  const double l1 = LargestL1(sensitivity, release.dimension);
  return [=](double order) {
    const double alpha = std::ceil(order), square = sensitivity * sensitivity;
    return alpha * square / (2 * variance) +
           std::min(((2 * alpha - 1) * square + 6 * l1) / (4 * variance * variance),
                    3 * l1 / (2 * variance));
  };
}

absl::StatusOr<RdpCurve> MechanismCurve(const Release& release, double sensitivity) {
  if (release.mechanism == "skellam") return Skellam(release, sensitivity);
  if (release.mechanism == "discrete_gaussian" && release.sharers > 1)
    return SharedDiscreteGaussian(release, sensitivity);
  // One discrete Gaussian costs what the continuous one does (Canonne et al. 2020, theorem 14).
  if (release.mechanism == "discrete_gaussian" || release.mechanism == "central" ||
      release.mechanism == "gaussian")
    return Gaussian(sensitivity, release.variance);
  return Refuse(absl::StrCat("mechanism '", release.mechanism,
                             "' is not known; there are discrete_gaussian, skellam, central and "
                             "gaussian"));
}

absl::StatusOr<RdpCurve> CurveOf(const Release& release) {
  DS_RETURN_IF_ERROR(CheckRelease(release));
  const double q = release.sampling_rate;
  if (release.sampling == "none" || q == 1) return MechanismCurve(release, release.sensitivity);
  if (release.sampling == "poisson") {
    const double multiplier = std::sqrt(release.variance) / release.sensitivity;
    return RdpCurve([=](double order) { return PoissonGaussianRdp(q, multiplier, order); });
  }
  // The sample that holds a site is compared with the one that holds another in its place: twice
  // as far apart.
  const double apart = 2 * release.sensitivity;
  DS_ASSIGN_OR_RETURN(const RdpCurve mechanism, MechanismCurve(release, apart));
  if (release.mechanism == "gaussian")
    return FixedSampleGaussian(q, std::sqrt(release.variance) / apart);
  return RdpCurve([=](double order) {
    return std::min(mechanism(order), FixedSampleRdp(q, mechanism, order));
  });
}

}  // namespace

const std::vector<double>& Accountant::Orders() {
  static const std::vector<double>* const orders = [] {
    auto* list = new std::vector<double>();
    for (int i = 11; i < 110; ++i) list->push_back(i / 10.0);
    for (int i = 11; i < 64; ++i) list->push_back(i);
    for (const double order : {128, 256, 512, 1024}) list->push_back(order);
    return list;
  }();
  return *orders;
}

Accountant::Accountant() : rdp_(Orders().size(), 0.0) {}

absl::Status Accountant::Add(const Release& release, int64_t times) {
  if (times < 1) return Refuse(absl::StrCat(times, " releases; at least 1 is needed"));
  DS_ASSIGN_OR_RETURN(const RdpCurve curve, CurveOf(release));
  for (size_t i = 0; i < rdp_.size(); ++i)
    rdp_[i] += static_cast<double>(times) * curve(Orders()[i]);
  return absl::OkStatus();
}

double Accountant::Epsilon(double delta) const {
  DS_CHECK(delta > 0 && delta < 1) << delta;
  double least = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < rdp_.size(); ++i) {
    const double order = Orders()[i], rdp = rdp_[i];
    // So little that delta alone pays for it: delta <= sqrt(1 - exp(-KL)).
    if (delta * delta + std::expm1(-rdp) > 0) return 0;
    least = std::min(least, rdp + std::log1p(-1 / order) - std::log(delta * order) / (order - 1));
  }
  return std::max(0.0, least);
}

}  // namespace ds::federated
