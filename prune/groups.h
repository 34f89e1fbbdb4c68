// Which channels of a network stand and fall together. A filter's output is a channel; batch norms,
// biases, depthwise filters, residual additions, concatenations and the layers that read it have
// places of their own for that channel, and all must go together or not at all. The walk keeps one
// label for every index of every axis of every value and joins labels by what each operator does;
// an operator that it does not know, or that mixes channels (Softmax, LayerNormalization, Reshape,
// Split, ...), fixes all labels it touches: a graph is left larger, never wrong.
//
// Known: Conv (dense, grouped, depthwise), Gemm, MatMul, BatchNormalization, element-wise operators
// with broadcasting (so also squeeze and excitation), pools, Concat, Flatten, Transpose, Squeeze,
// Unsqueeze, ReduceMean and ReduceSum over other axes, Pad and Resize of other axes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

// What a channel's place in an initialiser is.
enum class PlaceRole {
  kFilter,     // weights that compute the channel: output axis of a Conv, Gemm or MatMul
  kNormScale,  // gamma of a BatchNormalization
  kOther,      // biases, statistics, the input axis of a layer that reads the channel, ...
};

// One slice of an initialiser.
struct ChannelPlace {
  ValueId tensor = kNoValue;
  int axis = 0;
  int64_t index = 0;
  PlaceRole role = PlaceRole::kOther;
};

// All slices that go with one channel, by tensor, axis and index. At least one is a filter.
struct CoupledChannel {
  std::vector<ChannelPlace> places;
};

// Channels that have the same axes: the filters of one layer, or of all layers that are added up,
// ...
struct ChannelGroup {
  std::string name;                 // of the first layer that computes them, in the graph's order
  std::vector<std::string> layers;  // all that compute them (nodes' names)
  std::vector<CoupledChannel> channels;
  std::string fixed_because;  // empty: may be pruned; else a sentence that names the node
};

// All groups of a graph whose shapes are inferred, fixed ones too, in the order of their first
// layers. FailedPrecondition if a shape is not known.
absl::StatusOr<std::vector<ChannelGroup>> FindChannelGroups(const Graph& graph);

// Takes the channels `removed[g]` (indices into `groups[g].channels`, each once) out of every
// initialiser that has a place for them, adapts `group` of depthwise convolutions and infers shapes
// again. `groups` must be FindChannelGroups(graph). InvalidArgument, with the graph as it was, for
// indices out of range, fixed groups, or if a group would be left with nothing.
absl::Status RemoveChannels(Graph& graph, const std::vector<ChannelGroup>& groups,
                            const std::vector<std::vector<int>>& removed);

// What goes of which initialiser: name -> axis -> indices.
using RemovedSlices = std::map<std::string, std::map<int, std::set<int64_t>>>;

// The slices that RemoveChannels takes out; errors as there.
absl::StatusOr<RemovedSlices> SlicesOfChannels(const Graph& graph,
                                               const std::vector<ChannelGroup>& groups,
                                               const std::vector<std::vector<int>>& removed);

// The same by slices, for instance of another graph with the same names. InvalidArgument, with the
// graph as it was: a name that is no initialiser, an axis or index out of range, an axis that would
// be left with nothing, or a graph that is not valid without them.
absl::Status RemoveSlices(Graph& graph, const RemovedSlices& removed);

// Adds to `removed` what went after it: indices in `later` count what was left then, those in
// `removed` what there was at first.
void AddLaterSlices(const RemovedSlices& later, RemovedSlices& removed);

// Writes Reshapes that only flatten (or only append axes of 1) as Flatten (Unsqueeze): the same
// result with no extents written out, so that channels before them can be pruned. Shapes must be
// inferred, and are again afterwards.
absl::Status SimplifyReshapes(Graph& graph);

}  // namespace ds
