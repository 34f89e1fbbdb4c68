// Options of the Quantizer: plain values, which ds_quantize's flags and a run's configuration fill.
// Torch-free.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "quant/bit_search.h"
#include "quant/ranges/observer.h"

namespace ds {

struct QuantizedModel;

// Roundings that are not the nearest: gptq's (quant/torch/reconstruction/gptq.h), for which all
// below does not matter, or learnt ones (adaround.h).
struct ReconstructionOptions {
  // none | gptq | adaround | qdrop | auto. Only the Quantizer knows gptq, where the outputs gain by
  // it, and auto: adaround where weights or activations have at most 4 bits, else gptq.
  std::string method = "none";
  int64_t samples = 512;        // of the calibration data, the first ones; >= 1
  int iterations = 600;         // steps of Adam a unit, >= 1
  int64_t batch = 32;           // samples a step, >= 1
  double learning_rate = 0.02;  // of the roundings, > 0
  // Weight of the regulariser's mean beside the squared error, which is in units of nearest
  // rounding's; > 0.
  double regularisation = 1.0;
  double warm_up = 0.2;    // share of the steps without regulariser, [0, 1)
  double drop = 0.5;       // qdrop: share of an activation's elements left unrounded, [0, 1]
  bool learn_bias = true;  // biases move too: rounding then need not make up for a mean
  uint64_t seed = 1;
};

// `bits: auto`: each layer's width, and if wished each activation's, from its measured sensitivity.
// At most one of the two budgets; with neither, all layers have QuantizerOptions::bits.
struct MixedBitsOptions {
  // Whose widths are searched for; at least one. Activations, which get 4 or 8 bits, count with the
  // bytes of their codes for one sample beside those of the weights, and need an accuracy budget.
  bool weights = true;
  bool activations = false;
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

struct QuantizerOptions {
  int bits = 8;                        // of weights, 2..8
  int activation_bits = 8;             // 2..8
  bool symmetric_activations = false;  // signed codes with zero point 0, as TensorRT wants them,
                                       // instead of unsigned ones with a zero point
  // Gemm and MatMul multiply float activations by integer weights, as language models on a CPU want
  // it, which read each weight once a token; all else stays float, and no calibration data changes
  // anything. Biases are not corrected and roundings not learnt.
  bool weights_only = false;
  int end_bits = 8;  // of the first and the last layer's weights and inputs, 2..8, if that is more
  int sum_bits = 8;  // of activations that only additions read (a residual branch's result), 2..8,
                     // if that is more
  // auto | min-max | moving-average | percentile | mse | kl. auto: for each activation the one with
  // the least error at the outputs of the layers that read it.
  std::string method = "auto";
  CalibrationOptions calibration;
  int64_t group =
      0;  // Gemm, MatMul: weights that share a scale along the input: 0 (a channel), 32, 64 or 128
  // With weights of at most 4 bits a large last Gemm or MatMul has as many in blocks of 32 along
  // the input, instead of `end_bits`, where that costs its outputs less than 1 % of their power.
  // Not with `group`, a budget or bits of its own name.
  bool block_classifier = true;
  bool bias_correction =
      true;  // Nagel et al. 2019, section 4.2, from the measured means of a layer's inputs
  // The plan is for training, which knows the model's layers as they are and no constants'
  // integers: layers are not merged and constants stay float.
  bool for_training = false;
  // Channels scaled between layers before anything is measured (quant/repair/equalization.h,
  // norm_migration.h): on | off | auto. auto: where channels of depthwise convolutions or of layer
  // norms are far apart, and the outputs' error on the calibration data is then less.
  std::string equalization = "auto";
  // Rounding up or down learnt for each weight; its biases then need no correction by means.
  ReconstructionOptions reconstruction;
  std::map<std::string, int>
      named_bits;  // by the name of a weight or an activation, instead of all of these, 2..8
  // With a budget, each layer's bits come from its measured sensitivity, instead of `bits` or
  // `activation_bits` or both; `end_bits` and `sum_bits` are then the least that such may have, and
  // `named_bits` hold.
  MixedBitsOptions mixed_bits;
  // What each output must keep of signal to noise on the calibration data, in dB; 0: anything.
  // Where rounding everything to 8 bits leaves less, the few values that are to blame stay float
  // (quant/floating/float_values.h). With other widths, groups, a budget, or for training it is not
  // looked at.
  double least_snr_db = 20;
  // Layers that would take longer with integers stay float (quant/floating/slow_layers.h), under
  // the same conditions and not where activations are symmetric, as TensorRT has them.
  bool slow_layers_float = false;
  // Share of an activation's values more than half a step beyond its range that earns a warning,
  // [0, 1].
  double most_clipped = 0.01;
};

}  // namespace ds
