// Batch norms that keep training while their convolutions' weights are rounded, and are folded
// only at export. A convolution's step is one a channel and a batch norm's factor is so too, hence
// folding scales both the weight and its step, and leaves the codes as they are:
//
//   fake_quantize(w, s) * g = fake_quantize(w * g, s * g)
//   g = gamma / sqrt(variance + epsilon) > 0
//
// (Jacob et al., "Quantization and Training of Neural Networks", CVPR 2018, section 3.2, round
// folded weights instead and need two convolutions for it; with steps a channel one is enough.)
#pragma once

#include <map>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "graph/graph.h"

namespace ds {

// A Conv and the BatchNormalization that FoldBatchNorms puts into it; indices of nodes.
struct NormPair {
  int conv = 0;
  int norm = 0;
};

// What `live` holds and `folded`, the same graph with its batch norms folded, does not.
// Unimplemented naming the weight where two convolutions with norms of their own share one.
absl::StatusOr<std::vector<NormPair>> FindLiveNorms(const Graph& live, const Graph& folded);

// Turns channels of negative gamma: gamma, weight, bias and mean change their signs, the result
// does not. Codes are not symmetric, so that the factor must be positive.
void MakeGammasPositive(Graph& live, const std::vector<NormPair>& pairs);

// Values of the folded graph in the one that trains: those of the same names, and what folding has
// made anew, by what it was made from: a weight, and for a bias the norm's beta.
class Counterparts {
 public:
  Counterparts(const Graph& folded, const Graph& live, const std::vector<NormPair>& pairs);
  // kNoValue where there is none.
  ValueId Of(ValueId folded) const;

 private:
  std::map<ValueId, ValueId> live_;
};

// One pair's tensors, those of a module; [channels], fp32.
struct LiveNorm {
  at::Tensor gamma, beta, mean, variance;
  at::Tensor bias;  // of the convolution; may be undefined
  double epsilon = 0;

  // g above; without gradient, as is FoldedBias.
  at::Tensor Factor() const;
  // (bias - mean) * g + beta
  at::Tensor FoldedBias() const;
};
LiveNorm NormOf(const GraphModule& module, const NormPair& pair);

}  // namespace ds
