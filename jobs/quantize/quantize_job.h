// Quantises an ONNX model on the data of a configuration, with labels or without, or on random
// inputs, and writes it for ONNX Runtime or TensorRT: what `ds_quantize` does after it has read its
// arguments.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/insert_qdq.h"
#include "jobs/config/train_config.h"
#include "jobs/quantize/agreement.h"
#include "jobs/quantize/runtime_check.h"
#include "jobs/quantize/sample_source.h"
#include "quant/torch/quantizer.h"
#include "quant/torch/ranges/drift_monitor.h"
#include "trainer/metrics.h"

namespace ds {

struct QuantizeJobOptions {
  std::string model;   // ONNX file, float
  std::string output;  // ONNX file to write
  // With an accuracy budget, `mixed_bits.drop` is the job's own: points lost on `held_out` samples.
  CalibratedQuantizer quantizer = {.options = {.reconstruction = {.method = "auto"}}};
  // How the file is laid out. qdq.profile kTensorRT wants symmetric_activations, and
  // writes a recipe for its builder and a lint beside the file (deploy/tensorrt_exporter.h).
  QdqOptions qdq;
  // Of the training split, others than those calibrated on, for an accuracy budget; >= 1, rounded
  // up to batches.
  int64_t held_out = 4096;
  int64_t drift_samples =
      2048;  // of the test split, from all over it, to look for drift in; 0: none
  // No data: inputs are drawn, and the configuration's data section is not looked at.
  bool random = false;
  RandomSamplesOptions random_samples;
  // Run the written file in ONNX Runtime too. Errors then: FailedPrecondition where it refuses the
  // file, Internal where an output is further from the float model than it may be.
  bool verify = false;
  RuntimeCheckOptions runtime;
  int threads = 0;    // compute threads; 0: as UseThreads
  bool print = true;  // tables on stdout
};

struct QuantizeSummary {
  std::string model;
  std::string output;
  int bits = 8, activation_bits = 8;
  std::string samples;  // what was calibrated and tested on, in words
  // Of the test split by its labels; without labels NaN. `metric` is the loss' first: a share 0..1,
  // or an error. The quantised ones are of the written graph, executed with its integers.
  std::string metric = "accuracy";
  double float_accuracy = std::numeric_limits<double>::quiet_NaN();
  double quantized_accuracy = std::numeric_limits<double>::quiet_NaN();
  std::vector<MetricValue> float_metrics, quantized_metrics;  // all of them; empty without labels
  std::vector<OutputAgreement> outputs;                       // of the two models, output by output
  RuntimeCheck runtime;                                       // with options.verify
  int64_t float_bytes = 0;                                    // of the two files
  int64_t quantized_bytes = 0;
  std::vector<LayerReport> layers;
  std::vector<ActivationReport> activations;
  std::vector<UnitReconstruction> units;  // whose roundings were learnt; empty without
  std::vector<std::string> warnings;  // clipping, drift, and nodes left in float with the reason
  MixedBits mixed_bits;               // empty without a budget
  std::vector<ValueDrift> drift;      // of the test split against the calibration data
  std::map<std::string, Histogram> histograms;  // of activations in calibration, by name
};

// Writes `output` and, beside it, `output` with .json and .html in place of .onnx: the summary.
// Accuracy is measured before anything is written. Errors say what, where and how to mend it;
// nothing that was there before is lost.
absl::StatusOr<QuantizeSummary> RunQuantizeJob(TrainConfig config,
                                               const QuantizeJobOptions& options);

std::string QuantizeSummaryJson(const QuantizeSummary& summary);
// "W4A8"; with bits of their own for each layer the mean over all weights, "W3.20A8", or over all
// elements of a sample's activations.
std::string WidthsName(const QuantizeSummary& summary);
// Layers, activations, warnings and the totals.
std::string QuantizeSummaryTable(const QuantizeSummary& summary);

}  // namespace ds
