// Dynamic channel gating: behind a convolution's Relu each channel is multiplied by a saliency that
// the network computes from the image itself, and that is exactly 0 for channels which the image
// does not need. The idea is Gao et al., "Dynamic channel pruning: feature boosting and
// suppression" (ICLR 2019); its top-k is replaced by a Relu here, so that a gated graph has no
// operator that the ungated one has not, but for Mul (and Abs):
//
//   s = Relu(W * GlobalAveragePool(|x|) + b)     [N, C, 1, 1], x the convolution's input
//   y = Relu(BatchNormalization(Conv(x))) * s    [N, C, H, W]
//
// Where s is 0 neither this convolution's channel nor the readers' input channel need be computed
// for the image. |x| is written as x where it cannot be negative. Needs no LibTorch;
// docs/gating.md has the whole way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

struct ChannelGateOptions {
  double weight_scale = 0.1;  // W's deviation over Kaiming's, sqrt(2 / inputs); >= 0
  double bias = 1;            // b at first, > 0: with W = 0 the graph computes what it did, times b
  uint64_t seed = 1;          // of W, with the convolution's name
  std::vector<std::string> keep;  // names of convolutions that get no gate
};

struct ChannelGate {
  std::string conv;             // the gated convolution's node name
  std::string saliency_conv;    // the node that computes W * mean + b
  ValueId saliency = kNoValue;  // s
  ValueId gated = kNoValue;     // y
  int64_t channels = 0;         // C
};

// The gates that a graph has, in its nodes' order; found by what they look like, so in a file that
// was read again too. Batch norms may be folded; Q/DQ files have none that can be found.
std::vector<ChannelGate> FindChannelGates(const Graph& graph);

// Gives each convolution a gate that fits: one group, float32 weight, followed by Relu or Clip
// (behind a batch norm, or not), whose result only convolutions read, at once or behind pools,
// Dropout or Identity. A channel that is added to something (a residual) is so left alone. Gates
// that are there stay as they are. New parameters: "<conv>.gate.weight" [C, inputs, 1, 1] and
// "<conv>.gate.bias" [C], trainable. Shapes must be inferred, and are again afterwards. Returns all
// gates. InvalidArgument, with the graph as it was: options out of range, a name in `keep` that is
// no convolution, or nothing to gate (why, convolution by convolution).
absl::StatusOr<std::vector<ChannelGate>> AddChannelGates(Graph& graph,
                                                         const ChannelGateOptions& options = {});

// Which channels are open in one image: open[g][c] of gate g.
using OpenChannels = std::vector<std::vector<bool>>;

// What a gated graph costs, in multiply-accumulates of one image (as MultiplyAccumulates counts:
// Conv, Gemm, MatMul), if closed channels are not computed. No runtime that this project writes
// files for does that: it is what an engine with such kernels could save.
class GatedCost {
 public:
  // FailedPrecondition if a shape is not known.
  static absl::StatusOr<GatedCost> Create(const Graph& graph,
                                          const std::vector<ChannelGate>& gates);
  // Of the network without its gates.
  int64_t whole() const { return whole_; }
  // Of the gates' own layers, which are always computed.
  int64_t gates() const { return gates_; }
  // With these channels open, the gates' own layers included. `open` has the gates' sizes.
  int64_t Needed(const OpenChannels& open) const;

 private:
  // A convolution with a gate behind it, before it, or both; -1 where there is none.
  struct Layer {
    int gate_in = -1, gate_out = -1;
    int64_t groups = 1;
    int64_t inputs = 0, outputs = 0;  // channels of all groups
    int64_t pair = 0;                 // multiply-accumulates of one input with one output channel
  };
  int64_t NeededBy(const Layer& layer, const OpenChannels& open) const;

  int64_t whole_ = 0, gates_ = 0;
  int64_t fixed_ = 0;  // of layers that no gate concerns
  std::vector<Layer> layers_;
};

}  // namespace ds
