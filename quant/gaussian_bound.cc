#include "quant/gaussian_bound.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <mutex>

namespace ds {
namespace {

// Mean squared error on a standard normal variable with that step, by the midpoint rule over the
// positive half.
double Distortion(double step, int levels) {
  constexpr int kIntervals = 20000;
  constexpr double kEnd = 9.0;  // beyond it lies 1e-19 of the mass
  const double width = kEnd / kIntervals;
  const double density = std::sqrt(2.0 / std::acos(-1.0)) * width;  // of both halves
  const double top = levels / 2 - 0.5;
  double sum = 0;
  for (int i = 0; i < kIntervals; ++i) {
    const double x = (i + 0.5) * width;
    const double error = x - step * std::min(std::floor(x / step) + 0.5, top);
    sum += error * error * std::exp(-0.5 * x * x);
  }
  return sum * density;
}

double Search(int bits) {
  const int levels = 1 << bits;
  // The distortion has one minimum in the step: golden-section search.
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double low = 2.0 / levels, high = 16.0 / levels;
  constexpr int kHalvings = 40;
  for (int i = 0; i < kHalvings; ++i) {
    const double a = high - ratio * (high - low), b = low + ratio * (high - low);
    if (Distortion(a, levels) < Distortion(b, levels)) {
      high = b;
    } else {
      low = a;
    }
  }
  return -10 * std::log10(Distortion((low + high) / 2, levels));
}

}  // namespace

double GaussianSignalToNoise(int bits) {
  constexpr int kMostBits = 8;
  static std::array<std::once_flag, kMostBits + 1> once;
  static std::array<double, kMostBits + 1> bounds;
  const auto i = static_cast<size_t>(bits);
  // A search takes tens of milliseconds, and reports ask for the same width again and again.
  std::call_once(once.at(i), [bits, i] { bounds[i] = Search(bits); });
  return bounds[i];
}

}  // namespace ds
