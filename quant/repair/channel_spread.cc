#include "quant/repair/channel_spread.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "base/status.h"
#include "quant/repair/equalization.h"

namespace ds {
namespace {

// By how much each output channel of a convolution changed.
std::vector<double> ChannelChanges(const Tensor& before, const Tensor& after) {
  std::vector<double> changes;
  const auto from = before.span<float>(), to = after.span<float>();
  const int64_t channels = before.dim(0);
  const auto row = static_cast<size_t>(before.num_elements() / std::max<int64_t>(1, channels));
  for (size_t c = 0; c < static_cast<size_t>(channels); ++c) {
    const auto largest = [c, row](absl::Span<const float> all) {
      double most = 0;
      for (const float w : all.subspan(c * row, row)) {
        most = std::max(most, std::abs(static_cast<double>(w)));
      }
      return most;
    };
    const double was = largest(from);
    if (was > 0) changes.push_back(largest(to) / was);
  }
  return changes;
}

}  // namespace

absl::StatusOr<double> DepthwiseSpread(const Graph& graph) {
  Graph equal = graph;
  DS_ASSIGN_OR_RETURN(const EqualizationReport report, EqualizeLayers(equal));
  std::set<std::string> paired;
  for (const EqualizedPair& pair : report.pairs) paired.insert({pair.first, pair.second});
  double spread = 1;
  for (const Node& node : graph.nodes()) {
    if (node.op != "Conv" || !paired.contains(node.name)) continue;
    const Tensor& weight = *graph.Constant(node.inputs[1]);
    if (weight.rank() < 3 || weight.dim(1) != 1 || node.GetInt("group", 1) < 2) continue;
    std::vector<double> changes = ChannelChanges(weight, *equal.Constant(node.inputs[1]));
    if (changes.empty()) continue;
    std::sort(changes.begin(), changes.end());
    const double middle = changes[changes.size() / 2];
    spread = std::max({spread, changes.back() / middle, middle / changes.front()});
  }
  return spread;
}

}  // namespace ds
