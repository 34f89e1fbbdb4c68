// Which weights of an imported model train: ONNX does not say.
#pragma once

#include <functional>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds::onnx_io {

struct TrainableOptions {
  // Initialisers that were Constant nodes: their names say nothing.
  absl::flat_hash_set<ValueId> unnamed;
  // Whether all elements are finite; asked of few.
  std::function<bool(ValueId)> all_finite;
};

// Marks floating-point initialisers that train:
//  - those in the schema's parameter slots (weights, biases, scales; not running statistics);
//  - vectors that Add, Sub, Mul or Div puts on the channels of such a layer: its bias or affine;
//  - those whose own name is a parameter's (own_names.h), where their elements take part in what is
//    computed: positions, class tokens, layer scales.
// All three also behind nodes that follow from initialisers alone (Transpose, Reshape, Cast, a
// standardisation, ...): there it is the main operand that trains, and another only by its name.
// Never: what holds a non-finite value (a mask), operands of QuantizeLinear and DequantizeLinear,
// the unnamed ones and zeros that exporters give a norm without affine. Infers shapes, with their
// errors.
absl::Status MarkTrainable(Graph& graph, const TrainableOptions& options);

}  // namespace ds::onnx_io
