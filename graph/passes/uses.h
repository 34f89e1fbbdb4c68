// Who writes and who reads each value, indexed once so that a pass over n nodes costs n and not n
// squared. Valid until nodes are added, removed or rewired.
#pragma once

#include <vector>

#include "graph/graph.h"

namespace ds {

class Uses {
 public:
  explicit Uses(const Graph& graph)
      : graph_(graph), producer_(graph.values().size(), -1), count_(graph.values().size(), 0) {
    for (size_t i = 0; i < graph.nodes().size(); ++i) {
      const Node& node = graph.nodes()[i];
      for (ValueId id : node.outputs) {
        if (id != kNoValue) producer_[id] = static_cast<int>(i);
      }
      for (ValueId id : node.inputs) {
        if (id != kNoValue) ++count_[id];
      }
    }
    for (ValueId id : graph.outputs()) ++count_[id];
  }

  // The node that writes `id` if it is of kind `op`, else nullptr.
  const Node* Producer(ValueId id, const char* op) const {
    const int index = ProducerIndex(id);
    if (index < 0 || graph_.nodes()[index].op != op) return nullptr;
    return &graph_.nodes()[index];
  }
  int ProducerIndex(ValueId id) const { return id == kNoValue ? -1 : producer_[id]; }
  // Reads by nodes, and by the graph's outputs.
  int Count(ValueId id) const { return count_[id]; }

 private:
  const Graph& graph_;
  std::vector<int> producer_;
  std::vector<int> count_;
};

}  // namespace ds
