// Initial weights. Each tensor is a pure function of (seed, parameter name, shape): the same on
// every rank, whatever the order in which layers are built.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/tensor/tensor.h"

namespace ds {

// Normal with mean 0 and the given standard deviation, float32.
Tensor NormalWeights(Shape shape, double deviation, uint64_t seed, absl::string_view name);
// Uniform in [-bound, bound), float32.
Tensor UniformWeights(Shape shape, double bound, uint64_t seed, absl::string_view name);
// For [out, in / groups, kernel...]: normal with variance 2 / (out * kernel elements) (He et al.
// 2015, "Delving deep into rectifiers", fan-out mode).
Tensor HeFanOutWeights(Shape shape, uint64_t seed, absl::string_view name);
// Every element `value`, float32.
Tensor FilledWeights(Shape shape, float value);

}  // namespace ds
