// Tensors without elements, which operators of the engine never see.
#pragma once

#include <algorithm>

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds::engine::compile {

inline bool HasNoElements(const Value& value) {
  return value.shape && std::count(value.shape->begin(), value.shape->end(), 0) > 0;
}

// Results without elements become initialisers, a concatenation reads what has elements alone, and
// a reduction of nothing is what ONNX says it is (0, 1, infinities, NaN for a mean). Shapes must be
// inferred. Unimplemented, with the node's name, for another node that makes elements of none.
absl::Status FoldEmpty(Graph& graph);

}  // namespace ds::engine::compile
