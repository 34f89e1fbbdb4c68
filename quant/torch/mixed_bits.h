// `bits: auto`: each layer's, and if wished each activation's, width from its measured sensitivity,
// under a budget of bytes or of accuracy.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/torch/quantizer_options.h"
#include "quant/torch/sensitivity.h"

namespace ds {

// One size that the search under an accuracy budget tried.
struct BitTrial {
  int64_t bytes = 0;
  double drop = 0;      // points
  bool learnt = false;  // with the roundings learnt, which only the last one is
};

struct MixedBits {
  std::map<std::string, int> bits;  // by the weight's or the activation's name
  int64_t bytes = 0;                // of all these, rounded
  int64_t float_bytes = 0;          // and in fp32
  double error = 0;                 // expected, in the units of MeasureSensitivity
  std::vector<LayerSensitivity> layers;
  std::vector<BitTrial> trials;  // in the order in which they were made; empty under a size budget
};

// InvalidArgument for options out of range or two budgets.
absl::Status CheckMixedBits(const MixedBitsOptions& options);

// Makes the model with the widths by name.
using ConvertBits =
    std::function<absl::StatusOr<QuantizedModel>(const std::map<std::string, int>& bits)>;

// The model with the widths that were found. `convert` makes one without learnt roundings; `learn`,
// which may be null, one with them, in tens of times as long: it runs once, for the widths that
// were found, and what it gives is kept unless an accuracy budget is then missed, which is a
// warning of the model without. Where not even the largest widths keep the accuracy budget, they
// are tried with `learn` before the error. FailedPrecondition: the largest widths do not keep the
// accuracy budget, or the smallest the size budget (says what they reach).
absl::StatusOr<QuantizedModel> ChooseBits(std::vector<LayerSensitivity> layers, int64_t float_bytes,
                                          const MixedBitsOptions& options,
                                          const ConvertBits& convert, const ConvertBits& learn);

}  // namespace ds
