#include "federated/privacy/rdp.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace ds::federated {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();
constexpr double kInfinite = std::numeric_limits<double>::infinity();
const double kLog2 = std::log(2.0), kLog4 = std::log(4.0);

// log(erfc(x)), where erfc itself would vanish too.
double LogErfc(double x) {
  if (x < 25) return std::log(std::erfc(x));
  const double square = x * x;
  return -square - std::log(x) - 0.5 * std::log(M_PI) +
         std::log1p(-0.5 / square + 0.75 / (square * square));
}

// log A of section 3.3 for an integer order: a finite sum.
double LogMomentInteger(double q, double sigma, int order) {
  double sum = kNothing, log_choose = 0;
  for (int i = 0; i <= order; ++i) {
    if (i > 0) log_choose += std::log((order - i + 1.0) / i);
    sum = LogAdd(sum, log_choose + i * std::log(q) + (order - i) * std::log1p(-q) +
                          (1.0 * i * i - i) / (2 * sigma * sigma));
  }
  return sum;
}

// For a fractional one: two series, left and right of z0, whose terms' signs are all taken as
// positive, which can only make the bound larger.
double LogMomentFraction(double q, double sigma, double order) {
  constexpr int kTerms = 1000;
  constexpr double kSmall = 30;  // below the sum, as logarithms
  const double variance = sigma * sigma, z0 = variance * std::log(1 / q - 1) + 0.5;
  const double log_q = std::log(q), log_rest = std::log1p(-q);
  double sum = kNothing, log_choose = 0, last_left = kInfinite, last_right = kInfinite;
  for (int i = 0; i < kTerms; ++i) {
    if (i > 0) log_choose += std::log(std::abs((order - i + 1) / i));
    const double j = order - i;
    const double left = log_choose + i * log_q + j * log_rest + (1.0 * i * i - i) / (2 * variance) -
                        kLog2 + LogErfc((i - z0) / (std::sqrt(2.0) * sigma));
    const double right = log_choose + j * log_q + i * log_rest + (j * j - j) / (2 * variance) -
                         kLog2 + LogErfc((z0 - j) / (std::sqrt(2.0) * sigma));
    sum = LogAdd(sum, LogAdd(left, right));
    if (left < last_left && right < last_right && std::max(left, right) < sum - kSmall) return sum;
    last_left = left;
    last_right = right;
  }
  return kInfinite;  // this order says nothing
}

// log E[(p/q - 1)^l] for Gaussians a sensitivity apart, l even: nothing cancels, since the
// integrand is nowhere negative. The trapezoid rule on a smooth, vanishing integrand is exact to
// rounding.
double LogEvenMoment(double sigma, int l) {
  constexpr double kReach = 14, kSteps = 8;
  const double step = sigma / kSteps, variance = sigma * sigma;
  double sum = kNothing;
  for (double x = -kReach * sigma; x <= l + kReach * sigma; x += step) {
    const double ratio = std::abs(std::expm1((2 * x - 1) / (2 * variance)));
    if (ratio > 0) sum = LogAdd(sum, l * std::log(ratio) - x * x / (2 * variance));
  }
  return sum + std::log(step / (sigma * std::sqrt(2 * M_PI)));
}

// (order - 1) times the divergence of a sample's mechanism, from the logarithms of its terms: the
// j-th is q^j C(order, j) exp(log_term(j)).
double LogSampledMoment(double q, int order, const std::function<double(int)>& log_term) {
  double sum = 0, log_choose = std::log(order);
  for (int j = 2; j <= order; ++j) {
    log_choose += std::log((order - j + 1.0) / j);
    sum = LogAdd(sum, j * std::log(q) + log_choose + log_term(j));
  }
  return sum;
}

// Corollary 10: (order - 1) times the divergence is convex in the order.
double Interpolated(double order, const std::function<double(int)>& log_moment) {
  const auto below = static_cast<int>(order);
  const double part = order - below;
  const double low = below == 1 ? 0 : log_moment(below);
  const double high = part == 0 ? 0 : log_moment(below + 1);
  return ((1 - part) * low + part * high) / (order - 1);
}

// Both bounds on the second term.
double LogSecondTerm(double rdp_at_2) {
  return std::min(kLog4 + rdp_at_2 + std::log1p(-std::exp(-rdp_at_2)), kLog2 + rdp_at_2);
}

}  // namespace

double LogAdd(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == kNothing || a == kInfinite ? a : a + std::log1p(std::exp(b - a));
}

double PoissonGaussianRdp(double q, double noise_multiplier, double order) {
  const bool integer = order == std::floor(order);
  const double log_moment = integer ? LogMomentInteger(q, noise_multiplier, static_cast<int>(order))
                                    : LogMomentFraction(q, noise_multiplier, order);
  return std::max(0.0, log_moment / (order - 1));
}

double FixedSampleRdp(double q, const RdpCurve& mechanism, double order) {
  const double second = LogSecondTerm(mechanism(2));
  return Interpolated(order, [&](int integer) {
    return LogSampledMoment(
        q, integer, [&](int j) { return j == 2 ? second : kLog2 + (j - 1) * mechanism(j); });
  });
}

RdpCurve FixedSampleGaussian(double q, double noise_multiplier) {
  // Beyond, the moments gain nothing and would cost much.
  constexpr int kMoments = 256;
  const double sigma = noise_multiplier;
  auto even = std::make_shared<std::vector<double>>();
  for (int l = 0; l <= kMoments; l += 2) even->push_back(LogEvenMoment(sigma, l));
  return [q, sigma, even](double order) {
    const auto rdp = [&](double at) { return at / (2 * sigma * sigma); };
    const double second = LogSecondTerm(rdp(2));
    return Interpolated(order, [&](int integer) {
      return LogSampledMoment(q, integer, [&](int j) {
        if (j == 2) return second;
        const double simple = kLog2 + (j - 1) * rdp(j);
        if (integer > kMoments) return simple;
        const double tight = kLog4 + 0.5 * ((*even)[j / 2] + (*even)[(j + 1) / 2]);
        return std::min(simple, tight);
      });
    });
  };
}

}  // namespace ds::federated
