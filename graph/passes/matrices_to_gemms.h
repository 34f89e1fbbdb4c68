// Matrix products in the form that integers multiply best.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// For inference: a MatMul by a constant matrix becomes a Gemm of its rows, between two Reshapes
// where it has other axes than two, if what follows (behind Reshapes that leave the last axis) adds
// to or multiplies its channels by constants or is a BatchNormalization of its rows: integers add a
// bias before they round. Activations behind it work on the rows. A Gemm takes in such followers,
// too. Where two extents or more of the result are unknown it stays. Results are the same but for
// fp32's rounding. Infers shapes; its errors are InferShapes'.
absl::Status MatricesToGemms(Graph& graph);

}  // namespace ds
