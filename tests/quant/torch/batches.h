// What a test hands a Quantizer to calibrate on.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "quant/torch/quantizer.h"

namespace ds {

// Of a model with one input; one after another.
inline CalibrationData Batches(std::vector<at::Tensor> batches) {
  return [batches = std::move(batches),
          next = size_t{0}]() mutable -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
    if (next == batches.size()) return std::nullopt;
    return std::vector<at::Tensor>{batches[next++]};
  };
}

}  // namespace ds
