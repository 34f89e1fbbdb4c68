#include "graph/initialization.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace ds {

namespace {

template <typename Draw>
Tensor Fill(Shape shape, uint64_t seed, absl::string_view name, Draw draw) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  CounterRandom random(seed, StreamOf(name.data(), name.size()));
  for (float& element : tensor.mutable_span<float>()) element = static_cast<float>(draw(random));
  return tensor;
}

}  // namespace

Tensor NormalWeights(Shape shape, double deviation, uint64_t seed, absl::string_view name) {
  return Fill(std::move(shape), seed, name,
              [deviation](CounterRandom& random) { return deviation * random.NextNormal(); });
}

Tensor UniformWeights(Shape shape, double bound, uint64_t seed, absl::string_view name) {
  return Fill(std::move(shape), seed, name,
              [bound](CounterRandom& random) { return bound * (2.0 * random.NextDouble() - 1.0); });
}

Tensor HeFanOutWeights(Shape shape, uint64_t seed, absl::string_view name) {
  int64_t fan_out = shape.empty() ? 1 : shape[0];
  for (size_t i = 2; i < shape.size(); ++i) fan_out *= shape[i];
  const double deviation = std::sqrt(2.0 / static_cast<double>(std::max<int64_t>(fan_out, 1)));
  return NormalWeights(std::move(shape), deviation, seed, name);
}

Tensor FilledWeights(Shape shape, float value) {
  Tensor tensor(DType::kFloat32, std::move(shape));
  for (float& element : tensor.mutable_span<float>()) element = value;
  return tensor;
}

}  // namespace ds
