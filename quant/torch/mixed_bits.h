// `bits: auto`: each layer's width from its measured sensitivity, under a budget of bytes or of
// accuracy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/bit_search.h"
#include "quant/torch/sensitivity.h"

namespace ds {

struct QuantizedModel;

// At most one of the two budgets; with neither, all layers have QuantizerOptions::bits.
struct MixedBitsOptions {
  // The rounded weights' bytes, scales included, over their bytes in fp32: (0, 1]. 0: none.
  double size_budget = 0;
  // By how many points (percent of samples) `drop` may rise above 0: > 0. 0: none. The least size
  // is sought, by bisection, on the understanding that more bytes do not lower the accuracy.
  double accuracy_budget = 0;
  // With an accuracy budget: points lost by a model on labelled samples that were not calibrated
  // on.
  std::function<absl::StatusOr<double>(const QuantizedModel& model)> drop;
  CodeStorage storage = CodeStorage::kFile;
  int64_t samples = 256;  // of the calibration data, to measure sensitivity on, >= 1

  bool wanted() const { return size_budget > 0 || accuracy_budget > 0; }
};

// One size that the search under an accuracy budget tried.
struct BitTrial {
  int64_t bytes = 0;
  double drop = 0;  // points
};

struct MixedBits {
  std::map<std::string, int> bits;  // by the weight's name
  int64_t bytes = 0;                // of the rounded weights
  int64_t float_bytes = 0;
  double error = 0;  // expected, in the units of MeasureSensitivity
  std::vector<LayerSensitivity> layers;
  std::vector<BitTrial> trials;  // in the order in which they were made; empty under a size budget
};

// InvalidArgument for options out of range or two budgets.
absl::Status CheckMixedBits(const MixedBitsOptions& options);

// `convert` makes the model with these widths; only an accuracy budget needs it. FailedPrecondition
// where not even the largest widths keep the accuracy budget, or the smallest the size budget (says
// what they reach).
absl::StatusOr<MixedBits> ChooseBits(
    std::vector<LayerSensitivity> layers, int64_t float_bytes, const MixedBitsOptions& options,
    const std::function<absl::StatusOr<QuantizedModel>(const std::map<std::string, int>&)>&
        convert);

}  // namespace ds
