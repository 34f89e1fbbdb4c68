// Follows small integer tensors (shapes, axes, sizes) through a graph before it runs, so that
// `x.view(x.size(0), -1)` of an exported network has a shape although the batch is not known yet. A
// forward pass fills the table node by node; what it cannot follow it leaves out.
#pragma once

#include "graph/schema/schema.h"

namespace ds {

// Enters the elements of an integer constant, if there are few enough to be a shape.
void RememberConstant(ValueId id, const Tensor& tensor, KnownInts& known);

// Enters the outputs of `context.node`, whose shapes are inferred already, as far as they follow
// from `known`.
void EvaluateKnownInts(const InferenceContext& context, KnownInts& known);

// InferShapes node by node, for passes that change a node by what is known of its inputs:
// StartInference once, then InferNode for each node in order.
absl::Status StartInference(Graph& graph, KnownInts& known);
absl::Status InferNode(Graph& graph, const Node& node, KnownInts& known);

// InferShapes that also says which integers it came to know.
absl::Status InferShapesAndInts(Graph& graph, KnownInts& known);

}  // namespace ds
