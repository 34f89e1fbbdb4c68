// Rewrites of a graph that leave its results as they are. Each keeps the graph valid, the ids of
// the values it leaves alone and the names of inputs and outputs, and may be run again at no harm.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// Constant nodes become initialisers, and so does what can be computed before the graph runs:
// integer chains over shapes (Shape, Gather, Concat, Slice, arithmetic, ...) and small float
// arithmetic on constants. Infers shapes; its errors are InferShapes'. Trainable initialisers are
// never folded.
absl::Status FoldConstants(Graph& graph);

// Removes nodes and initialisers that no graph output depends on.
absl::Status EliminateDeadNodes(Graph& graph);

// Removes Identity, and Cast to the type that the value has already. Dropout stays: training needs
// it.
absl::Status EliminateIdentities(Graph& graph);

// For inference: Conv followed by BatchNormalization becomes Conv alone, with running statistics
// taken as they are:
//   w' = w * gamma / sqrt(variance + epsilon)
//   b' = (b - mean) * gamma / sqrt(variance + epsilon) + beta
// in double precision. Only where nothing else reads the convolution's result and all five are
// float32 constants.
absl::Status FoldBatchNorms(Graph& graph);

struct SeparatedTensor {
  ValueId copy = kNoValue, original = kNoValue;
};

// An exporter keeps one of several equal tensors (batch norms' ones and zeros) and calls the others
// an Identity of it, by their own names, or has all their layers read the one: they are weights of
// their own, and become initialisers. Equal tensors that are large, vectors whose elements differ,
// and a bias of layers that share their weight, too, are one weight with several readers. Nodes
// need not be checked yet. Returns the copies whose names were made here, of their originals'.
std::vector<SeparatedTensor> SeparateEqualTensors(Graph& graph);

// For integers, which have no SiLU and no HardSwish: SiLU -> x * Sigmoid(x), HardSwish -> x *
// HardSigmoid(x). What FuseActivations makes of them, undone.
absl::Status SplitGatedActivations(Graph& graph);

// For inference: what adds to, subtracts from, multiplies or divides a convolution's result by one
// constant a channel, or one for all, goes into its weight and bias, in double precision. Only
// where nothing else reads the result. Infers shapes.
absl::Status FoldChannelAffine(Graph& graph);

// For inference: one number that multiplies what only convolutions read goes into their weights,
// and one that is added to it into their biases, where none of them pads (PP-OCR scales and shifts
// behind each activation). Infers shapes.
absl::Status FoldAffineForward(Graph& graph);

// For inference: a BatchNormalization of [N, C, H, W] that no convolution takes in becomes a
// depthwise convolution of 1x1. Infers shapes.
absl::Status NormsToConvolutions(Graph& graph);

// For inference: a sum of two convolutions of the same value becomes one, where the taps and
// channels of one lie among those of the other and nothing else reads either (Ding et al. 2021,
// RepVGG).
absl::Status MergeParallelConvs(Graph& graph);

// A weight that only one chain of nodes reads, which arrange it anew (Transpose, Reshape, Squeeze,
// ...) or widen its type (Cast), becomes an initialiser of the form that its layer reads, under its
// own name; so it is a weight to every pass, and trains as one. A weight that is read in two
// layouts stays as it is, since it must stay one while it trains. Shapes are inferred first.
// `with_values` false: for a graph whose weights were not read (OnnxImportOptions).
absl::Status FoldLayouts(Graph& graph, bool with_values = true);

// For inference and quantising: all that follows from initialisers alone, weights included, is
// computed now, in double precision: standardised, scaled and transposed weights, each reader with
// an initialiser of its own layout. What follows from one weight that nothing else reads has that
// weight's name; it is trainable if that was.
absl::Status FoldWeights(Graph& graph);

// x * Sigmoid(x) -> SiLU, x * HardSigmoid(x) (alpha 1/6, beta 1/2) -> HardSwish, written out as
// clip(x + 3, 0, 6) / 6 too (Paddle), and
// 0.5 * x * (1 + Erf(x / sqrt(2))) -> Gelu, in any order of the factors.
absl::Status FuseActivations(Graph& graph);

// For training and quantising: float16 and bfloat16 become float32 throughout, inputs and outputs
// too, and casts between them go away. Weights keep their values. `notes`, if given, receives a
// sentence that says so. Simplifies what changed.
absl::Status WidenHalves(Graph& graph, std::vector<std::string>* notes);

// What an imported graph goes through before it is trained: FoldConstants, biases of nothing but
// zeros that do not train go, EliminateIdentities, FuseActivations and EliminateDeadNodes, then
// InferShapes.
absl::Status Simplify(Graph& graph);

}  // namespace ds
