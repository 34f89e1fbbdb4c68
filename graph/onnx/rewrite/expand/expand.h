// Operators of a file that the graph has no operator for, but several that compute the same: those
// of older opsets, those on integers, and the fused ones of ONNX Runtime's own domain.
#pragma once

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace ds::onnx_io {

// ONNX Runtime's own domain, and what stands before the name of an operator of it.
inline constexpr char kContribDomain[] = "com.microsoft";
inline constexpr char kContribPrefix[] = "com.microsoft.";

// True for an operator of the graph that is ONNX Runtime's own in a file, too.
bool IsContrib(absl::string_view op);

// Brings `node` from `opset` to the form that the operator has in opset 13, where that differs:
// attributes that became inputs, and operators that were renamed. Appends what it needs to `graph`.
absl::Status UpdateOldForm(Graph& graph, Node& node, int opset);

// QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger and ONNX Runtime's of that kind, as
// DequantizeLinear, the float operator and QuantizeLinear (but for DynamicQuantizeLSTM, which the
// graph has); appends them and returns true. Products
// of integers are added up in float32: exact below 2^24, and within one code of the integers'
// result beyond. False for another operator.
absl::StatusOr<bool> ExpandQuantized(Graph& graph, const Node& node);

// Fused operators of com.microsoft, as the operators that were fused. `used`: values that are read.
absl::StatusOr<bool> ExpandContrib(Graph& graph, const Node& node,
                                   const absl::flat_hash_set<ValueId>& used);

// STFT, as a convolution by cosines and sines (Allen and Rabiner, "A unified approach to short-time
// Fourier analysis and synthesis", Proceedings of the IEEE 65, 1977: a filter bank); frames of at
// most 4096 points.
absl::StatusOr<bool> ExpandSpectra(Graph& graph, const Node& node);

// LSTM, GRU and RNN with attribute layout 1, as layout 0 between transposes.
absl::StatusOr<bool> ExpandRecurrent(Graph& graph, const Node& node);

// True for an operator that one of these knows.
bool IsExpanded(absl::string_view op);

}  // namespace ds::onnx_io
