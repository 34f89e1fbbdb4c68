// Structured pruning: whole channels leave the network, and its tensors, multiplications and
// activations shrink with them. Which channels must go together is found by walking the graph
// (prune/groups.h); which go is chosen by importance:
//
//   l1     mean of |w| over the channel's filters, relative to the average filter of the same
//          layer (Li et al., "Pruning filters for efficient ConvNets", ICLR 2017), averaged over
//          the layers that compute the channel
//   bn     mean of |gamma| over the channel's batch norms (Liu et al., "Learning efficient
//          convolutional networks through network slimming", ICCV 2017); layers without batch
//          norm are left alone
//   given  sums of given numbers, for instance the loss' first-order change
//          (prune/torch/taylor_importance.h)
//
// Needs no LibTorch. Fine-tune afterwards; docs/pruning.md has the whole way.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "prune/groups.h"

namespace ds {

struct PruneOptions {
  std::string importance = "l1";  // l1 | bn | given
  double amount = 0.4;            // share of the measure that goes, (0, 1)
  std::string measure =
      "filters";  // filters (outputs of all Conv, Gemm and constant MatMul layers) | macs
  // global: the least important of the whole network; uniform: of each group the same share.
  std::string scope = "global";
  double most_of_group = 0.8;  // share of one group's channels that may go, (0, 1)
  int64_t multiple =
      1;  // groups shrink to multiples of this, 1..256; 8 suits SIMD and tensor cores
  std::vector<std::string> keep;  // names of layers (nodes) whose groups are left alone
  // Where the graph has been pruned before: a group's name -> its channels at first, which
  // `most_of_group` is a share of.
  std::map<std::string, int64_t> channels_at_first;
};

// An initialiser's name -> importance of each channel it computes or scales: of filters for a
// layer's weight, of gammas for a batch norm's scale. >= 0.
using ChannelImportance = std::map<std::string, std::vector<double>>;

struct PrunedGroup {
  std::string name;
  std::vector<std::string> layers;
  int64_t channels_before = 0;
  int64_t channels_after = 0;
  std::string fixed_because;  // empty if it could be pruned
};

struct PruneReport {
  std::vector<PrunedGroup> groups;
  int64_t filters_before = 0, filters_after = 0;
  int64_t parameters_before = 0, parameters_after = 0;
  int64_t macs_before = 0, macs_after = 0;  // of one sample
  RemovedSlices removed;  // for RepeatPruning, and for what goes along with weights
};

// Scores of groups[g].channels, for fixed groups and those that the method knows nothing of: empty.
// InvalidArgument for an unknown method, NaN, or numbers that do not fit their initialiser.
absl::StatusOr<std::vector<std::vector<double>>> ScoreChannels(
    const Graph& graph, const std::vector<ChannelGroup>& groups, const std::string& method,
    const ChannelImportance& given = {});

// Prunes `graph` until `amount` of the measure has gone: the least number of steps in order of
// importance that reaches it. Deterministic. InvalidArgument, with the graph as it was: options out
// of range, or less can go than was asked for (how much, and what is fixed why).
absl::StatusOr<PruneReport> PruneChannels(Graph& graph, const PruneOptions& options,
                                          const ChannelImportance& given = {});

// Takes out of another copy of a model what PruneChannels took out of the first.
absl::Status RepeatPruning(Graph& graph, const RemovedSlices& removed);

// What `amount` is a share of, as it is now. InvalidArgument for an unknown measure.
absl::StatusOr<double> PruneMeasure(const Graph& graph, const std::string& measure);

// The share that has gone after `step` of `steps` prunings, 1 <= step <= steps: much at first,
// little at the end, s (1 - (1 - step / steps)^3). Zhu and Gupta, "To prune, or not to prune"
// (2017), equation 1, from 0 on.
double GradualShare(double share, int64_t step, int64_t steps);

}  // namespace ds
