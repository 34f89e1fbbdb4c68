#include "prune/groups.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/status.h"
#include "prune/coupling.h"

namespace ds {
namespace {

using AxisOf = std::pair<ValueId, int>;

// The axes of weights along which channels are computed, each with its first node, and those of
// batch norms' scales.
struct Roles {
  std::map<AxisOf, int> filters;
  std::set<AxisOf> scales;
};

Roles FindRoles(const Graph& graph) {
  Roles roles;
  for (size_t n = 0; n < graph.nodes().size(); ++n) {
    const Node& node = graph.nodes()[n];
    if (node.op == "BatchNormalization") roles.scales.insert({node.inputs[1], 0});
    if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") continue;
    const Tensor* weight = graph.Constant(node.inputs[1]);
    if (weight == nullptr || weight->rank() < 2) continue;
    int axis = 0;
    if (node.op == "Gemm") axis = node.GetInt("transB", 0) != 0 ? 0 : 1;
    if (node.op == "MatMul") axis = weight->rank() - 1;
    roles.filters.try_emplace({node.inputs[1], axis}, static_cast<int>(n));
  }
  return roles;
}

class GroupCollector {
 public:
  GroupCollector(const Graph& graph, AxisCoupling& coupling)
      : graph_(graph), coupling_(coupling), roles_(FindRoles(graph)) {}

  std::vector<ChannelGroup> Run() {
    for (const auto& [id, initializer] : graph_.initializers()) CollectPlaces(id);
    for (auto& [label, channel] : channels_) AddToGroup(label, std::move(channel));
    std::vector<std::pair<int, ChannelGroup>> ordered;
    for (auto& [key, group] : groups_) ordered.push_back(Finish(std::move(group)));
    std::stable_sort(ordered.begin(), ordered.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<ChannelGroup> groups;
    for (auto& [node, group] : ordered) groups.push_back(std::move(group));
    return groups;
  }

 private:
  void CollectPlaces(ValueId id) {
    const int rank = static_cast<int>(graph_.value(id).shape->size());
    for (int axis = 0; axis < rank; ++axis) {
      const PlaceRole role = roles_.filters.contains({id, axis})  ? PlaceRole::kFilter
                             : roles_.scales.contains({id, axis}) ? PlaceRole::kNormScale
                                                                  : PlaceRole::kOther;
      for (int64_t i = 0; i < coupling_.Extent(id, axis); ++i) {
        channels_[coupling_.Find(id, axis, i)].places.push_back({id, axis, i, role});
      }
    }
  }

  void AddToGroup(int64_t label, CoupledChannel channel) {
    std::map<AxisOf, int64_t> axes;
    bool computed = false;
    for (const ChannelPlace& place : channel.places) {
      ++axes[{place.tensor, place.axis}];
      computed |= place.role == PlaceRole::kFilter;
    }
    if (!computed) return;
    const std::string& reason = coupling_.Reason(label);
    ChannelGroup& group = groups_[{std::move(axes), reason}];
    group.fixed_because = reason;
    group.channels.push_back(std::move(channel));
  }

  // With the index of its first layer.
  std::pair<int, ChannelGroup> Finish(ChannelGroup group) const {
    std::set<int> layers;
    for (const ChannelPlace& place : group.channels.front().places) {
      if (place.role == PlaceRole::kFilter)
        layers.insert(roles_.filters.at({place.tensor, place.axis}));
    }
    for (const int node : layers) {
      group.layers.push_back(graph_.nodes()[static_cast<size_t>(node)].name);
    }
    group.name = group.layers.front();
    return {*layers.begin(), std::move(group)};
  }

  const Graph& graph_;
  AxisCoupling& coupling_;
  const Roles roles_;
  std::map<int64_t, CoupledChannel>
      channels_;  // by label: in the order of the values they come from
  std::map<std::pair<std::map<AxisOf, int64_t>, std::string>, ChannelGroup> groups_;
};

}  // namespace

absl::StatusOr<std::vector<ChannelGroup>> FindChannelGroups(const Graph& graph) {
  AxisCoupling coupling(graph);
  DS_RETURN_IF_ERROR(coupling.Run());
  return GroupCollector(graph, coupling).Run();
}

}  // namespace ds
