#include "quant/torch/floating/masks.h"

#include <algorithm>
#include <set>

namespace ds {
namespace {

// 8 bits over this many logits are steps of 1/4; a score this far under the highest has e^-64.
constexpr double kWidestScores = 64;

const Node& ReaderOf(const Graph& graph, int n) { return graph.nodes()[static_cast<size_t>(n)]; }

bool OnlySoftmaxReads(const Graph& graph, const ActivationSite& site) {
  return !site.readers.empty() &&
         std::all_of(site.readers.begin(), site.readers.end(),
                     [&graph](int n) { return ReaderOf(graph, n).op == "Softmax"; });
}

bool IsMasked(const Graph& graph, const Collector& collector, const ActivationSite& site) {
  const ActivationStatistics& seen = collector.at(site.value).statistics;
  if (seen.histogram().infinities() > 0) return true;
  return OnlySoftmaxReads(graph, site) &&
         double{seen.histogram().max()} - double{seen.histogram().min()} > kWidestScores;
}

}  // namespace

void KeepMasksFloat(const Graph& graph, const Collector& collector, QuantSelection& selection) {
  std::set<ValueId> masked;
  for (const ActivationSite& site : selection.activations) {
    if (IsMasked(graph, collector, site)) masked.insert(site.value);
  }
  if (masked.empty()) return;
  const auto feeds_masked = [&graph, &masked](const ActivationSite& site) {
    return !site.readers.empty() &&
           std::all_of(site.readers.begin(), site.readers.end(), [&graph, &masked](int n) {
             const Node& reader = ReaderOf(graph, n);
             return reader.op == "Add" && masked.contains(reader.outputs[0]);
           });
  };
  std::erase_if(selection.activations, [&masked, &feeds_masked](const ActivationSite& site) {
    return masked.contains(site.value) || feeds_masked(site);
  });
}

}  // namespace ds
