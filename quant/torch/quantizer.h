// From a trained network to one whose weights and activations are integers, in three steps:
//
//   absl::StatusOr<QuantizedModel> model = Quantizer(graph, {.bits = 4}).calibrate(data).convert();
//
// collect: the float network runs over the calibration data once and each activation's histogram
// grows (memory does not depend on the number of samples); calibrate: a clipping range is chosen
// for each; convert: weights are rounded, biases corrected, and the plan is made that exporters
// carry out. docs/quantization.md has the whole way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/torch/mixed_bits.h"
#include "quant/torch/quantizer_options.h"
#include "quant/torch/reconstruction/adaround.h"

namespace ds {

// Hands out batches, each the model's inputs in order (images [N, C, H, W]), and nothing after the
// last.
using CalibrationData = std::function<absl::StatusOr<std::optional<std::vector<at::Tensor>>>()>;

// One layer (a node that multiplies by a weight), or one activation, as the report lists them.
struct LayerReport {
  std::string node;  // its name
  std::string op;
  std::string weight;  // its name
  int weight_bits = 0;
  int64_t weights = 0;
  double weight_snr_db = 0;  // 10 log10 of the weights' power over their rounding error's
  double gaussian_snr_db =
      0;  // what the best uniform quantiser of so many bits reaches on normal values (Max 1960)
  int64_t bytes = 0;  // of its codes as files hold them, and scales
  float least_scale = 0, greatest_scale = 0;
};

struct ActivationReport {
  std::string value;  // its name
  int bits = 0;
  int64_t elements = 0;  // of one sample
  std::string method;
  float low = 0, high = 0;  // the range before rounding
  float seen_low = 0, seen_high = 0;
  double clipped_share = 0;
  double snr_db = 0;  // expected, from the histogram
  float scale = 1;
  int32_t zero_point = 0;
};

struct QuantizedModel {
  Graph graph;     // inference graph in float: batch norms folded, biases corrected
  QuantPlan plan;  // of that graph
  std::vector<LayerReport> layers;
  std::vector<ActivationReport> activations;
  std::vector<UnitReconstruction> units;  // with options.reconstruction, in the graph's order
  std::vector<std::string> warnings;
  MixedBits mixed_bits;    // empty without a budget
  bool equalized = false;  // channels were scaled between layers
  Graph calibrated;        // the float graph that calibration ran: what drift is measured on
  std::map<std::string, Histogram> histograms;  // of the activations in calibration, by name
};

// What runs at inference, of which a plan is made: batch norms folded into the convolutions before
// them, no Dropout; shapes inferred.
absl::StatusOr<Graph> InferenceGraph(Graph graph);

class Quantizer {
 public:
  explicit Quantizer(Graph model, QuantizerOptions options = {});
  Quantizer(Quantizer&&);
  ~Quantizer();

  // Runs the model over all of `data`; may be called again with more. Errors are kept for convert.
  Quantizer& calibrate(const CalibrationData& data);
  // InvalidArgument: options out of range, an unknown method, data that holds NaN or Inf or does
  // not fit the model (what and where); FailedPrecondition: no calibration data, or a budget that
  // cannot be kept; Unimplemented: an operator the executor lacks, or a model in which nothing can
  // be quantised.
  absl::StatusOr<QuantizedModel> convert();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
  std::unique_ptr<Impl> equalized_;  // the other choice, where it is to be compared
};

}  // namespace ds
