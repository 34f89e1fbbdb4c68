#include "prune/pruning.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "graph/describe.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

using AxisOf = std::pair<ValueId, int>;

absl::Status CheckMeasure(const std::string& measure) {
  if (measure == "filters" || measure == "macs") return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("measure is \"", measure, "\"; it must be filters or macs"));
}

absl::Status CheckOptions(const PruneOptions& options) {
  const auto share = [](const char* name, double value) {
    if (value > 0 && value < 1) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", value, "; it must be between 0 and 1"));
  };
  DS_RETURN_IF_ERROR(share("amount", options.amount));
  DS_RETURN_IF_ERROR(share("most_of_group", options.most_of_group));
  DS_RETURN_IF_ERROR(CheckMeasure(options.measure));
  if (options.scope != "global" && options.scope != "uniform") {
    return absl::InvalidArgumentError(
        absl::StrCat("scope is \"", options.scope, "\"; it must be global or uniform"));
  }
  if (options.multiple < 1 || options.multiple > 256) {
    return absl::InvalidArgumentError(
        absl::StrCat("multiple is ", options.multiple, "; it must be in 1..256"));
  }
  return absl::OkStatus();
}

// Some channels of one group that go in one step.
struct Step {
  double rank = 0;  // steps with less go first
  size_t group = 0;
  std::vector<int> channels;
};

// How much of the measure is left as steps are taken: products of the extents of weights.
class Measure {
 public:
  Measure(const Graph& graph, bool macs) : macs_(macs) {
    for (const Node& node : graph.nodes()) {
      if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") continue;
      const Tensor* weight = graph.Constant(node.inputs[1]);
      if (weight == nullptr || weight->rank() < 2 || weight->num_elements() == 0) continue;
      Layer layer{.weight = node.inputs[1], .axes = {0, 1}};
      if (node.op == "MatMul") layer.axes = {weight->rank() - 2, weight->rank() - 1};
      layer.output =
          node.op == "Conv" || node.GetInt("transB", 0) != 0 ? layer.axes[0] : layer.axes[1];
      for (const int axis : layer.axes) extents_[{layer.weight, axis}] = weight->dim(axis);
      layer.cost = static_cast<double>(MultiplyAccumulates(graph, node)) / Product(layer);
      layers_.push_back(layer);
    }
  }

  void Remove(const CoupledChannel& channel) {
    for (const ChannelPlace& place : channel.places) {
      const auto found = extents_.find({place.tensor, place.axis});
      if (found != extents_.end()) --found->second;
    }
  }

  double Left() const {
    double sum = 0;
    for (const Layer& layer : layers_) {
      sum += macs_ ? layer.cost * Product(layer)
                   : static_cast<double>(extents_.at({layer.weight, layer.output}));
    }
    return sum;
  }

 private:
  struct Layer {
    ValueId weight = kNoValue;
    std::vector<int> axes;
    int output = 0;
    double cost = 0;  // multiply-accumulates for each product of its two extents
  };

  double Product(const Layer& layer) const {
    double product = 1;
    for (const int axis : layer.axes)
      product *= static_cast<double>(extents_.at({layer.weight, axis}));
    return product;
  }

  const bool macs_;
  std::map<AxisOf, int64_t> extents_;
  std::vector<Layer> layers_;
};

int64_t CountFilters(const Graph& graph) {
  return static_cast<int64_t>(Measure(graph, false).Left());
}

class Pruner {
 public:
  Pruner(const Graph& graph, std::vector<ChannelGroup> groups, const PruneOptions& options)
      : graph_(graph), groups_(std::move(groups)), options_(options) {}

  absl::Status CheckKeep() {
    for (const std::string& name : options_.keep) {
      bool known = false;
      for (ChannelGroup& group : groups_) {
        if (std::find(group.layers.begin(), group.layers.end(), name) == group.layers.end())
          continue;
        known = true;
        if (group.fixed_because.empty())
          group.fixed_because = absl::StrCat("layer '", name, "' is to be kept");
      }
      if (!known) {
        return absl::InvalidArgumentError(absl::StrCat(
            "keep names \"", name, "\", which is no Conv, Gemm or MatMul layer of the model"));
      }
    }
    return absl::OkStatus();
  }

  // The channels that go, by group.
  absl::StatusOr<std::vector<std::vector<int>>> Choose(const ChannelImportance& given) {
    DS_ASSIGN_OR_RETURN(const auto scores,
                        ScoreChannels(graph_, groups_, options_.importance, given));
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (!groups_[g].fixed_because.empty()) continue;
      if (scores[g].empty())
        groups_[g].fixed_because =
            absl::StrCat("method ", options_.importance, " knows nothing of it");
      AddSteps(g, scores[g]);
    }
    std::stable_sort(steps_.begin(), steps_.end(),
                     [](const Step& a, const Step& b) { return a.rank < b.rank; });
    Measure measure(graph_, options_.measure == "macs");
    const double before = measure.Left();
    std::vector<std::vector<int>> removed(groups_.size());
    for (const Step& step : steps_) {
      if (measure.Left() <= before * (1 - options_.amount)) return removed;
      for (const int channel : step.channels) {
        measure.Remove(groups_[step.group].channels[static_cast<size_t>(channel)]);
        removed[step.group].push_back(channel);
      }
    }
    if (measure.Left() <= before * (1 - options_.amount)) return removed;
    return TooMuch(1 - measure.Left() / before);
  }

  const std::vector<ChannelGroup>& groups() const { return groups_; }

 private:
  // The group's channels, least important first, in steps that leave multiples.
  void AddSteps(size_t g, const std::vector<double>& scores) {
    const auto size = static_cast<int64_t>(scores.size());
    std::vector<int> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&scores](int a, int b) {
      return scores[static_cast<size_t>(a)] < scores[static_cast<size_t>(b)];
    });
    const auto most = std::min(size - 1, MostThatMayGo(groups_[g].name, size));
    int64_t from = 0;
    int64_t to = size % options_.multiple != 0 ? size % options_.multiple : options_.multiple;
    for (; to <= most; from = to, to += options_.multiple) {
      Step step{.group = g, .channels = {order.begin() + from, order.begin() + to}};
      for (const int channel : step.channels) {
        step.rank += scores[static_cast<size_t>(channel)] / static_cast<double>(to - from);
      }
      if (options_.scope == "uniform")
        step.rank = static_cast<double>(to) / static_cast<double>(size);
      steps_.push_back(std::move(step));
    }
  }

  // Of a group with `size` channels left.
  int64_t MostThatMayGo(const std::string& group, int64_t size) const {
    const auto found = options_.channels_at_first.find(group);
    const int64_t at_first = found == options_.channels_at_first.end() ? size : found->second;
    const auto most = static_cast<int64_t>(static_cast<double>(at_first) * options_.most_of_group);
    return most - (at_first - size);
  }

  absl::Status TooMuch(double possible) const {
    std::string fixed;
    for (const ChannelGroup& group : groups_) {
      if (!group.fixed_because.empty())
        absl::StrAppend(&fixed, "; layer '", group.name, "' is fixed: ", group.fixed_because);
    }
    return absl::InvalidArgumentError(
        absl::StrFormat("only %.1f %% of the model's %s can be removed, not %.1f %%: lower amount, "
                        "raise most_of_group (%g) or lower multiple (%d)%s",
                        100 * possible, options_.measure, 100 * options_.amount,
                        options_.most_of_group, options_.multiple, fixed));
  }

  const Graph& graph_;
  std::vector<ChannelGroup> groups_;
  const PruneOptions& options_;
  std::vector<Step> steps_;
};

}  // namespace

absl::StatusOr<PruneReport> PruneChannels(Graph& graph, const PruneOptions& options,
                                          const ChannelImportance& given) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  Graph pruned = graph;
  DS_RETURN_IF_ERROR(InferShapes(pruned));
  DS_RETURN_IF_ERROR(SimplifyReshapes(pruned));
  DS_ASSIGN_OR_RETURN(std::vector<ChannelGroup> groups, FindChannelGroups(pruned));
  PruneReport report;
  report.filters_before = CountFilters(pruned);
  report.parameters_before = pruned.ParameterCount();
  report.macs_before = TotalMultiplyAccumulates(pruned);
  Pruner pruner(pruned, std::move(groups), options);
  DS_RETURN_IF_ERROR(pruner.CheckKeep());
  DS_ASSIGN_OR_RETURN(const auto removed, pruner.Choose(given));
  for (size_t g = 0; g < removed.size(); ++g) {
    const ChannelGroup& group = pruner.groups()[g];
    const auto channels = static_cast<int64_t>(group.channels.size());
    report.groups.push_back({group.name, group.layers, channels,
                             channels - static_cast<int64_t>(removed[g].size()),
                             group.fixed_because});
  }
  DS_ASSIGN_OR_RETURN(report.removed, SlicesOfChannels(pruned, pruner.groups(), removed));
  DS_RETURN_IF_ERROR(RemoveSlices(pruned, report.removed));
  report.filters_after = CountFilters(pruned);
  report.parameters_after = pruned.ParameterCount();
  report.macs_after = TotalMultiplyAccumulates(pruned);
  graph = std::move(pruned);
  return report;
}

absl::Status RepeatPruning(Graph& graph, const RemovedSlices& removed) {
  Graph pruned = graph;
  DS_RETURN_IF_ERROR(InferShapes(pruned));
  DS_RETURN_IF_ERROR(SimplifyReshapes(pruned));
  DS_RETURN_IF_ERROR(RemoveSlices(pruned, removed));
  graph = std::move(pruned);
  return absl::OkStatus();
}

absl::StatusOr<double> PruneMeasure(const Graph& graph, const std::string& measure) {
  DS_RETURN_IF_ERROR(CheckMeasure(measure));
  return Measure(graph, measure == "macs").Left();
}

double GradualShare(double share, int64_t step, int64_t steps) {
  const double left = 1 - static_cast<double>(step) / static_cast<double>(steps);
  return share * (1 - left * left * left);
}

}  // namespace ds
