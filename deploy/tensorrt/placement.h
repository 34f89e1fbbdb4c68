// Where TensorRT wants Q/DQ pairs, which is not where ONNX Runtime wants them: on the operands of
// what it runs in INT8, and nowhere else. Its documentation of explicit quantisation: quantise all
// inputs of weighted operators, not their results; quantise the residual input of an addition, so
// that the convolution on the other input, the addition and the activation become one kernel.
#pragma once

#include <optional>

#include "absl/status/status.h"
#include "deploy/qdq/placement.h"
#include "graph/graph.h"
#include "graph/passes/uses.h"
#include "quant/quant_plan.h"

namespace ds::qdq {

// InvalidArgument, naming it, for what TensorRT does not read: an activation that is not int8 with
// 8 bits and zero point 0; a weight with a zero point, with scales along another axis than its
// outputs, or in groups where it has more than 4 bits, is a convolution's, or does not divide.
absl::Status CheckPlanForTensorRT(const Graph& graph, const QuantPlan& plan);

// True for a weight that is stored as int4 and multiplied in float ("weight-only"): of Gemm and
// MatMul, 4 bits or fewer. TensorRT has no convolution with such weights.
bool IsWeightOnly(const Node& node, const QuantParams& params);

// Of an addition: the slot that a convolution writes for it alone, into which TensorRT fuses the
// addition; the later one of two, nothing if there is none.
std::optional<size_t> FusedSlot(const Graph& graph, const Uses& uses, const Node& add);

// Takes out of `placement` every quantisation that no INT8 operator reads.
void KeepWhatTensorRTReads(const Graph& graph, const QuantPlan& plan, Placement& placement);

}  // namespace ds::qdq
