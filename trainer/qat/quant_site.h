// A weight or a value of a graph in training that is rounded with a step of its own (LSQ).
#pragma once

#include <cstdint>
#include <string>

#include "ATen/ATen.h"
#include "graph/graph.h"
#include "quant/affine.h"
#include "trainer/qat/qat_module.h"

namespace ds {

struct QuantSite {
  static constexpr int kNone = -1;

  std::string name;
  bool is_weight = false;
  bool at_end = false;  // of the first or the last layer
  bool added = false;   // only additions read it
  QuantType type;
  int axis = QuantParams::kWholeTensor;
  at::Tensor step;        // fp32 [1], of weights [channels]; a parameter
  at::Tensor master;      // of weights: what is rounded
  ValueId id = kNoValue;  // of weights: in the graph that trains
  int norm = kNone;       // of weights: which batch norm will be folded into it
  at::Tensor zero_point;  // int32 [1]; of activations

  int32_t zero() const { return is_weight ? 0 : *zero_point.const_data_ptr<int32_t>(); }
  QuantType TypeWith(const QatBits& bits) const;
  // Of a weight: its channels' own initial steps. A dead channel keeps that of `otherwise`
  // ([channels]), and so do all at 8 bits, where LSQ's formula gives several times what the weights
  // need.
  at::Tensor InitialSteps(const at::Tensor& otherwise) const;
  // `tensor` rounded, with LSQ's gradients for it and for `step`; fp32.
  at::Tensor Rounded(const at::Tensor& tensor) const;
  // Of a weight: bool [channels], whether any of the channel's codes is not 0.
  at::Tensor LiveChannels() const;
  // To other bits in mid-training, as QatModule::ChangeBits says.
  void ChangeBits(const QatBits& bits);
};

// Fewer than 8 bits use the whole signed range, as in LSQ's paper.
QuantType WeightType(int bits);

// `bias` [channels] to multiples of input_step * weight_step, as deploy's BiasCodes rounds; as it
// is in channels that are not `live`, which get a fine step for their bias alone (deploy's
// FitDeadChannels). The gradient passes as it is.
at::Tensor RoundBias(const at::Tensor& bias, const at::Tensor& input_step,
                     const at::Tensor& weight_step, const at::Tensor& live);

}  // namespace ds
