// Between a graph and the flat vector of floats that sites and aggregator exchange: trainable
// initialisers in the graph's order, then BatchNorm's running means and variances, then what the
// graph's metadata says the run keeps beside them. Without LibTorch, so that the aggregator needs
// none.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/update/global_model.h"
#include "graph/graph.h"

namespace ds::federated {

// Statistics that no node reads, 0 at first: quantisation steps, say (federated/training). Under
// this key of Graph::metadata they are written as JSON, [["name", count], ...].
inline constexpr char kExtraStatistics[] = "ds.federated.statistics";
void SetExtraStatistics(const std::vector<ModelSlot>& slots, Graph& graph);

struct GraphModel {
  Graph graph;
  ModelLayout layout;
  std::vector<ValueId>
      tensors;  // initialiser of each of the layout's slots but the last, extra ones

  // layout.size() floats, as the graph holds them.
  std::vector<float> Weights() const;
};

// InvalidArgument where nothing trains, something that would is not float32 (by name), or the
// metadata's extra statistics cannot be read.
absl::StatusOr<GraphModel> MakeGraphModel(Graph graph);
// From an ONNX file; errors as ImportOnnx.
absl::StatusOr<GraphModel> ReadGraphModel(const std::string& path);
// The model's graph with other weights: layout.size() floats, the extra ones left out.
Graph WithWeights(const GraphModel& model, absl::Span<const float> weights);

}  // namespace ds::federated
