// Which weights of an imported model train: ONNX does not say.
#pragma once

#include "graph/graph.h"

namespace ds::onnx_io {

// Marks floating-point initialisers in the schema's parameter slots (weights, biases, scales; not
// running statistics), and those of more than one element that Add, Sub, Mul or Div combine with an
// activation: exporters write biases, scales and position embeddings so; not where one holds
// infinities, which is a mask that decay or an average would turn into NaN. Operands of
// QuantizeLinear and DequantizeLinear never train.
void MarkTrainable(Graph& graph);

}  // namespace ds::onnx_io
