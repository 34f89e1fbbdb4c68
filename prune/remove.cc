#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "prune/groups.h"

namespace ds {
namespace {

absl::Status CheckSlices(const Graph& graph, const RemovedSlices& removed) {
  for (const auto& [name, axes] : removed) {
    const Tensor* data = graph.Constant(graph.FindValue(name));
    if (data == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot prune '", name, "': the model has no initialiser of that name"));
    }
    for (const auto& [axis, gone] : axes) {
      if (axis < 0 || axis >= data->rank()) {
        return absl::InvalidArgumentError(
            absl::StrCat("cannot prune axis ", axis, " of '", name, "', which has ", data->rank()));
      }
      const int64_t extent = data->dim(axis);
      const bool in_range = gone.empty() || (*gone.begin() >= 0 && *gone.rbegin() < extent);
      if (in_range && static_cast<int64_t>(gone.size()) < extent) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "cannot take ", gone.size(), " slices out of the ", extent, " on axis ", axis, " of '",
          name, "': ", in_range ? "nothing would be left" : "an index is out of range"));
    }
  }
  return absl::OkStatus();
}

Tensor WithoutSlices(const Tensor& tensor, int axis, const std::set<int64_t>& gone) {
  Shape shape = tensor.shape();
  int64_t outer = 1, inner = ByteSize(tensor.dtype(), 1);
  for (int i = 0; i < axis; ++i) outer *= shape[static_cast<size_t>(i)];
  for (int i = axis + 1; i < tensor.rank(); ++i) inner *= shape[static_cast<size_t>(i)];
  const int64_t extent = shape[static_cast<size_t>(axis)];
  shape[static_cast<size_t>(axis)] = extent - static_cast<int64_t>(gone.size());
  Tensor kept(tensor.dtype(), std::move(shape));
  const std::byte* from = tensor.data();
  std::byte* to = kept.mutable_data();
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < extent; ++i, from += inner) {
      if (gone.contains(i)) continue;
      std::memcpy(to, from, static_cast<size_t>(inner));
      to += inner;
    }
  }
  return kept;
}

void Apply(Graph& graph, const RemovedSlices& removed) {
  // A depthwise convolution has as many groups as it has inputs left; each keeps its number of
  // filters.
  std::map<size_t, int64_t> filters_a_group;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    if (node.op != "Conv" || node.GetInt("group", 1) == 1) continue;
    const Tensor* weight = graph.Constant(node.inputs[1]);
    if (weight != nullptr && weight->dim(1) == 1) {
      filters_a_group[n] = weight->dim(0) / node.GetInt("group", 1);
    }
  }
  for (const auto& [name, axes] : removed) {
    const ValueId id = graph.FindValue(name);
    Tensor& data = graph.mutable_initializers().at(id).data;
    for (const auto& [axis, gone] : axes) data = WithoutSlices(data, axis, gone);
    graph.mutable_value(id).shape = data.shape();
  }
  for (const auto& [n, filters] : filters_a_group) {
    Node& node = graph.mutable_nodes()[n];
    node.attributes["group"] = graph.Constant(node.inputs[1])->dim(0) / filters;
  }
}

// Whether [a, b, ...] -> [a, b * ...] or [a, b] -> [a, b, 1, ...].
bool OnlyFlattens(const Shape& from, const Shape& to) {
  if (to.size() != 2 || from.size() < 2 || from[0] != to[0]) return false;
  int64_t columns = 1;
  for (size_t i = 1; i < from.size(); ++i) {
    if (from[i] == kDynamicDim) return false;
    columns *= from[i];
  }
  return columns == to[1];
}

bool OnlyAppendsOnes(const Shape& from, const Shape& to) {
  if (from.size() < 2 || from.size() >= to.size() || from[1] == kDynamicDim) return false;
  return std::equal(from.begin(), from.end(), to.begin()) &&
         std::all_of(to.begin() + static_cast<int64_t>(from.size()), to.end(),
                     [](int64_t e) { return e == 1; });
}

}  // namespace

absl::StatusOr<RemovedSlices> SlicesOfChannels(const Graph& graph,
                                               const std::vector<ChannelGroup>& groups,
                                               const std::vector<std::vector<int>>& removed) {
  if (groups.size() != removed.size()) {
    return absl::InvalidArgumentError(absl::StrCat("there are ", groups.size(),
                                                   " channel groups and ", removed.size(),
                                                   " lists of what to remove"));
  }
  RemovedSlices slices;
  for (size_t g = 0; g < groups.size(); ++g) {
    const ChannelGroup& group = groups[g];
    const std::set<int> gone(removed[g].begin(), removed[g].end());
    if (gone.empty()) continue;
    const auto size = static_cast<int>(group.channels.size());
    std::string why = group.fixed_because;
    if (gone.size() != removed[g].size()) why = "an index is listed twice";
    if (*gone.begin() < 0 || *gone.rbegin() >= size) why = "an index is out of range";
    if (static_cast<int>(gone.size()) == size) why = "nothing would be left";
    if (!why.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("cannot remove ", removed[g].size(),
                                                     " of the ", size, " channels of layer '",
                                                     group.name, "': ", why));
    }
    for (const int channel : gone) {
      for (const ChannelPlace& place : group.channels[static_cast<size_t>(channel)].places) {
        slices[graph.value(place.tensor).name][place.axis].insert(place.index);
      }
    }
  }
  return slices;
}

absl::Status RemoveSlices(Graph& graph, const RemovedSlices& removed) {
  DS_RETURN_IF_ERROR(CheckSlices(graph, removed));
  Graph pruned = graph;
  Apply(pruned, removed);
  DS_RETURN_IF_ERROR(InferShapes(pruned));
  DS_RETURN_IF_ERROR(pruned.Validate());
  graph = std::move(pruned);
  return absl::OkStatus();
}

absl::Status RemoveChannels(Graph& graph, const std::vector<ChannelGroup>& groups,
                            const std::vector<std::vector<int>>& removed) {
  DS_ASSIGN_OR_RETURN(const RemovedSlices slices, SlicesOfChannels(graph, groups, removed));
  return RemoveSlices(graph, slices);
}

void AddLaterSlices(const RemovedSlices& later, RemovedSlices& removed) {
  for (const auto& [name, axes] : later) {
    for (const auto& [axis, gone] : axes) {
      const std::set<int64_t> earlier = removed[name][axis];
      for (int64_t index : gone) {
        for (auto it = earlier.begin(); it != earlier.end() && *it <= index; ++it) ++index;
        removed[name][axis].insert(index);
      }
    }
  }
}

absl::Status SimplifyReshapes(Graph& graph) {
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    if (graph.nodes()[n].op != "Reshape") continue;
    const Node& node = graph.nodes()[n];
    const auto& from = graph.value(node.inputs[0]).shape;
    const auto& to = graph.value(node.outputs[0]).shape;
    if (!from.has_value() || !to.has_value()) continue;
    const int64_t rank = static_cast<int64_t>(from->size());
    if (OnlyFlattens(*from, *to)) {
      Node& changed = graph.mutable_nodes()[n];
      changed.op = "Flatten";
      changed.inputs.resize(1);
      changed.attributes = {{"axis", int64_t{1}}};
    } else if (OnlyAppendsOnes(*from, *to)) {
      std::vector<int64_t> axes;
      for (int64_t axis = rank; axis < static_cast<int64_t>(to->size()); ++axis)
        axes.push_back(axis);
      const ValueId id = graph.AddInitializer(
          absl::StrCat(node.name, ".axes"),
          Tensor::From<int64_t>({static_cast<int64_t>(axes.size())}, axes), false);
      Node& changed = graph.mutable_nodes()[n];
      changed.op = "Unsqueeze";
      changed.inputs[1] = id;
      changed.attributes.clear();
    }
  }
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  return InferShapes(graph);
}

}  // namespace ds
