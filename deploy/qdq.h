// From a float graph and a plan to a graph with QuantizeLinear and DequantizeLinear nodes, placed
// so that ONNX Runtime's CPU kernels (or TensorRT) fuse them into integer operators. What each rule
// is for was measured with ONNX Runtime 1.32; docs/export.md lists it.
//
// The graph that comes out computes, in floating point, exactly what the plan says; a runtime that
// fuses nothing gets the same numbers, only slower. Pure functions: any thread may call them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds {

// How weights of 2 to 4 bits reach their DequantizeLinear. They are stored as int2 (2 bits) or int4
// (3 and 4) either way; 5 to 8 bits are stored as int8.
enum class SmallWeights {
  // Through a Cast to int8, which ONNX Runtime folds when it loads the model: it then runs at the
  // speed of 8 bits.
  kCast,
  // Directly. ONNX Runtime 1.32 keeps convolutions with such weights in float at 4 bits, and does
  // not load the model at 2.
  kDirect,
};

// Whose rules the nodes are placed by: the two runtimes want opposite things (docs/export.md).
enum class QdqProfile {
  kOnnxRuntime,
  // deploy/trt_exporter.h says how. small_weights has no meaning here.
  kTensorRT,
};

struct QdqOptions {
  QdqProfile profile = QdqProfile::kOnnxRuntime;
  SmallWeights small_weights = SmallWeights::kCast;
};

// Whether the runtime of the profile computes a node with integers.
struct NodeFate {
  std::string node;
  std::string op;
  bool quantised = false;
  std::string reason;  // empty where `quantised`

  bool operator==(const NodeFate&) const = default;
};

struct QdqReport {
  // Every node with a floating-point result, in the graph's order; the nodes that InsertQdq adds
  // are not among them.
  std::vector<NodeFate> nodes;
  // Weights some of whose scales were enlarged so that the bias fits 32 bits.
  std::vector<std::string> enlarged;
};

// `folded`: a valid float graph for inference, batch norms folded into its convolutions, Relu and
// Clip still there. The result has the same inputs and outputs, all float.
//
// - A value in plan.activations goes through QuantizeLinear and DequantizeLinear (uint8 or int8);
//   codes of fewer than 8 bits are clipped as integers in between. The value keeps its name: it is
//   what the DequantizeLinear gives.
// - Relu, and Clip with constant bounds, are left to the saturation of the QuantizeLinear behind
//   them where that is exactly the same (uint8 with zero point 0 after Relu); the value before them
//   is then not quantised, even if the plan has it.
// - Operators that only move elements (Flatten, Reshape, Transpose, MaxPool, ...) pass on the
//   parameters of their input, whatever the plan has for their result.
// - A weight in plan.weights becomes an integer initialiser and a DequantizeLinear.
// - A bias becomes int32 (kept as int16 and cast where that saves bytes) with scale input scale *
// weight scale, zero point 0. Where |bias| / scale
//   would exceed 2^30 (the other half of the range is left to the sum of products), or the scale
//   would be no normal number, that channel's weight scale is enlarged and its weights are
//   quantised anew.
// - A Conv or Gemm whose weight stays float reads its input through a Clip without bounds: ONNX
//   Runtime would quantise that weight by itself.
// - For TensorRT other rules hold: activations only where an INT8 operator reads them, biases in
//   float, weights as int8, or as int4 that is multiplied in float (Gemm, MatMul).
// - Dropout and Identity go; ReduceMean over all spatial axes becomes GlobalAveragePool (and
//   Flatten).
//
// InvalidArgument, naming it: a value, weight or node of the plan that the graph does not have or
// that cannot be quantised, parameters that do not fit it (or the profile), a bias that is not
// finite.
absl::StatusOr<Graph> InsertQdq(const Graph& folded, const QuantPlan& plan,
                                const QdqOptions& options = {}, QdqReport* report = nullptr);

}  // namespace ds
