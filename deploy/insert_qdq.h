// From a float graph and a plan to a graph with QuantizeLinear and DequantizeLinear nodes, placed
// so that ONNX Runtime's CPU kernels (or TensorRT) fuse them into integer operators. What each rule
// is for was measured with ONNX Runtime 1.32; docs/export.md lists it.
//
// The graph that comes out computes, in floating point, exactly what the plan says; a runtime that
// fuses nothing gets the same numbers, only slower. Pure functions: any thread may call them.
#pragma once

#include "absl/status/statusor.h"
#include "deploy/qdq/options.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds {

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
// - A weight in plan.weights becomes an integer initialiser and a DequantizeLinear; one that is
//   read in two layouts becomes two (qdq/layouts.h).
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
