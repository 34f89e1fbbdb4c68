// Which values follow from initialisers alone, and what they are.
#pragma once

#include <optional>
#include <vector>

#include "graph/graph.h"

namespace ds {

// True, by value id, for what a graph input or chance (Dropout) has a part in; all else is the same
// at every run as long as the initialisers are. A shape of such a value counts as such a value.
std::vector<bool> DependOnInputs(const Graph& graph);

// True for a node that keeps every element of its first input and only arranges them (Transpose,
// Reshape, Flatten, Squeeze, Unsqueeze, Identity), or writes floats as float32 or float64 (Cast).
bool IsLayout(const Graph& graph, const Node& node);

// What such a node makes of an initialiser: the same bytes, shared where their order stays. Nothing
// where its input is none, the shapes are not inferred or memory is short.
std::optional<Tensor> ComputeLayout(const Graph& graph, const Node& node);

// A matrix of two axes with rows for columns; 16, 32 or 64 bits an element.
Tensor TransposedMatrix(const Tensor& matrix);

// The node's one output, computed in double precision from its initialisers, as the type that the
// value has. Shapes must be inferred. Nothing where an input is no initialiser, where the operator
// is none of those that layers' weights are made with (layouts, arithmetic, roots, means and sums,
// BatchNormalization, MatMul), and where the output is no float or much larger than the inputs.
std::optional<Tensor> ComputeFloats(const Graph& graph, const Node& node);

// The same for what stands on the way to a shape, in float32 as the graph says: PyTorch's exporters
// write the pads of a SAME convolution as ceil and max of an extent over a stride. Roundings,
// bounds, Concat of vectors, layouts and Cast to integers (towards zero) of short constants that
// training does not change.
std::optional<Tensor> ComputeShapeFloats(const Graph& graph, const Node& node);

}  // namespace ds
