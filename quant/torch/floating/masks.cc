#include "quant/torch/floating/masks.h"

#include <algorithm>
#include <set>

namespace ds {

void KeepMasksFloat(const Graph& graph, const Collector& collector, QuantSelection& selection) {
  std::set<ValueId> masked;
  for (const ActivationSite& site : selection.activations) {
    const Histogram& seen = collector.at(site.value).statistics.histogram();
    if (seen.infinities() > 0) masked.insert(site.value);
  }
  if (masked.empty()) return;
  const auto feeds_masked = [&graph, &masked](const ActivationSite& site) {
    return !site.readers.empty() &&
           std::all_of(site.readers.begin(), site.readers.end(), [&graph, &masked](int n) {
             const Node& reader = graph.nodes()[static_cast<size_t>(n)];
             return reader.op == "Add" && masked.contains(reader.outputs[0]);
           });
  };
  std::erase_if(selection.activations, [&masked, &feeds_masked](const ActivationSite& site) {
    return masked.contains(site.value) || feeds_masked(site);
  });
}

}  // namespace ds
