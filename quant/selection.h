// Which tensors of a graph get integers: the choice that calibration, exporters and the engine
// share. docs/quantization.md has the rules.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace ds {

// A constant operand of a node that multiplies.
struct WeightSite {
  ValueId weight = kNoValue;
  int node = -1;         // index in the graph of its first reader
  int channel_axis = 0;  // along which output channels run: one scale each
};

// A result or graph input that is rounded to integers, and whose range must be known.
struct ActivationSite {
  ValueId value = kNoValue;
  std::vector<int> readers;  // nodes that compute with it: where its rounding does harm
  // A gate, the result of Sigmoid or HardSigmoid: rounded over [0, 1] whatever the data says, so
  // that no gate of other data is cut off, and saturation of a HardSigmoid's codes does the
  // clamping.
  bool unit_range = false;
};

// A value that has the integers of another one, since its node only moves them or takes the largest
// (Flatten, MaxPool ...).
struct SharedSite {
  ValueId value = kNoValue;
  ValueId source = kNoValue;
};

struct QuantSelection {
  std::vector<WeightSite> weights;          // in the order of their nodes
  std::vector<ActivationSite> activations;  // in the order in which they come to be
  std::vector<SharedSite> shared;           // sources before what they lead to
  std::vector<ValueId> constants;           // operands of Add and Mul that are no activations
  std::vector<int>
      multipliers;  // the nodes that have weights: the first and the last are the network's ends
};

// For an inference graph with its batch norms folded. Chosen are the operands of Conv, Gemm and
// MatMul and of averages (means over space); and their results, behind the Relu or Clip that alone
// reads them; a Gemm's or MatMul's only where something behind it computes with integers: not
// logits, nor what layer norms and Softmax read. Between these, and only there: sums, gates,
// Concat, Sigmoid, HardSigmoid and LeakyRelu, where an operand has integers and something behind
// wants some. So sums stay float that carry tokens past a transformer's blocks, each with a layer
// norm first.
//
// `constants`, for ONNX Runtime: sums and products with such too, but no averages of windows.
QuantSelection SelectForQuantization(const Graph& graph, bool constants = false);

// Along which axis of its weight (input 1, of `rank`) the output channels of a Conv, Gemm or MatMul
// lie.
int WeightChannelAxis(const Node& node, int rank);

// Whether `node` is the first or the last layer, and whether one of these reads the value.
bool IsEnd(const QuantSelection& selection, int node);
bool IsReadAtEnd(const QuantSelection& selection, const ActivationSite& site);

// True for a value that only additions read: what a residual branch adds. Its rounding goes
// straight into the sum, and into no product.
bool OnlyAdded(const Graph& graph, const ActivationSite& site);

// A ReduceMean of [N, C, ...] over all but the first two axes: a global average pool.
bool IsMeanOverSpace(const Graph& graph, const Node& node);

// True for a node that hands on its first input's numbers, and none that were not there.
bool HandsOnValues(const Node& node);

}  // namespace ds
