// Samples that calibration meets, and the plain double-precision arithmetic that tests hold
// against it. Nothing here uses quant/ but its types.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"
#include "quant/affine.h"

namespace ds {

inline constexpr uint64_t kSampleSeed = 20240611;

inline std::vector<float> Normal(int count, double deviation = 1, double mean = 0,
                                 uint64_t seed = kSampleSeed) {
  CounterRandom random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(mean + deviation * random.NextNormal());
  return values;
}

inline std::vector<float> Laplace(int count, uint64_t seed = kSampleSeed) {
  CounterRandom random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const double u = random.NextDouble() - 0.5;
    value = static_cast<float>((u < 0 ? 1 : -1) * std::log(1 - 2 * std::fabs(u)));
  }
  return values;
}

inline std::vector<float> Uniform(int count, double low, double high, uint64_t seed = kSampleSeed) {
  CounterRandom random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(low + (high - low) * random.NextDouble());
  return values;
}

inline std::vector<float> Relu(std::vector<float> values) {
  for (float& value : values) value = std::max(value, 0.0f);
  return values;
}

// x * sigmoid(x): a short negative side, a long positive one.
inline std::vector<float> Silu(std::vector<float> values) {
  for (float& value : values) value = static_cast<float>(value / (1 + std::exp(-double{value})));
  return values;
}

// `every`-th value replaced by `size` with its sign.
inline std::vector<float> WithOutliers(std::vector<float> values, int every, float size) {
  for (size_t i = every / 2; i < values.size(); i += every)
    values[i] = std::copysign(size, values[i]);
  return values;
}

struct Sample {
  std::string name;
  std::vector<float> values;
};

inline std::vector<Sample> Samples(int count) {
  return {
      {"normal", Normal(count)},
      {"laplace", Laplace(count)},
      {"uniform", Uniform(count, -3, 5)},
      {"relu", Relu(Normal(count))},
      {"silu", Silu(Normal(count, 3))},
      {"negative", Uniform(count, -2, -1)},
      {"normal with outliers", WithOutliers(Normal(count), count / 4, 40)},
      {"relu with outliers", Relu(WithOutliers(Normal(count), count / 4, 40))},
  };
}

// x to its code and back, in double: the plain definition.
inline double QuantisedReference(double x, double scale, int zero_point, const QuantType& type) {
  const double code =
      std::clamp(std::nearbyint(x / scale) + zero_point, double(type.min()), double(type.max()));
  return scale * (code - zero_point);
}

// Mean over the raw samples of the squared error under the quantiser for [low, high], which is
// made here from the definitions: symmetric, or asymmetric with zero at a code.
inline double SquaredErrorReference(const std::vector<float>& values, const QuantType& type,
                                    double low, double high) {
  double scale = 0;
  int zero_point = 0;
  if (type.is_signed) {
    scale = std::max(-low, high) / type.max();
  } else {
    scale = (high - low) / type.max();
    zero_point = static_cast<int>(std::nearbyint(-low / scale));
  }
  double sum = 0;
  for (const float value : values) {
    const double error = value - QuantisedReference(value, scale, zero_point, type);
    sum += error * error;
  }
  return sum / static_cast<double>(values.size());
}

}  // namespace ds
