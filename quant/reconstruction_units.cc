#include "quant/reconstruction_units.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace ds {
namespace {

bool IsActivationFunction(const std::string& op) {
  static const std::set<std::string> ops = {"Relu",    "Clip",        "LeakyRelu", "PRelu",
                                            "Sigmoid", "HardSigmoid", "SiLU",      "HardSwish",
                                            "Gelu",    "Tanh",        "Elu"};
  return ops.contains(op);
}

class Cutter {
 public:
  Cutter(const Graph& graph, const QuantSelection& selection)
      : graph_(graph), multipliers_(selection.multipliers.begin(), selection.multipliers.end()) {
    for (const ValueId id : graph.inputs()) made_[id] = -1;
    for (int n = 0; n < Count(); ++n) {
      for (const ValueId id : NodeAt(n).outputs) {
        if (id != kNoValue) made_[id] = n;
      }
      for (const ValueId id : NodeAt(n).inputs) {
        if (id != kNoValue && !graph.IsInitializer(id)) last_use_[id] = n;
      }
    }
    for (const ValueId id : graph.outputs()) last_use_[id] = Count();
  }

  std::vector<ReconstructionUnit> Run() const {
    std::vector<ReconstructionUnit> units;
    int begin = 0;  // of the unit that is being gathered
    for (int n = 0; n < Count(); ++n) {
      if (n + 1 < Count() && LiveAfter(n).size() != 1) continue;
      if (HasWeight(begin, n)) {
        // The activation functions behind it come along, as long as a cut is behind them too.
        int end = n;
        while (end + 1 < Count() && IsActivationFunction(NodeAt(end + 1).op) &&
               (end + 2 == Count() || LiveAfter(end + 1).size() == 1)) {
          ++end;
        }
        units.push_back(MakeUnit(begin, end));
        begin = end + 1;
        n = end;
      }
    }
    return units;
  }

 private:
  int Count() const { return static_cast<int>(graph_.nodes().size()); }
  const Node& NodeAt(int n) const { return graph_.nodes()[static_cast<size_t>(n)]; }

  bool HasWeight(int begin, int end) const {
    const auto first = multipliers_.lower_bound(begin);
    return first != multipliers_.end() && *first <= end;
  }

  std::vector<ValueId> LiveAfter(int n) const {
    std::vector<ValueId> live;
    for (const auto& [id, made] : made_) {
      const auto use = last_use_.find(id);
      if (made <= n && use != last_use_.end() && use->second > n) live.push_back(id);
    }
    return live;
  }

  ReconstructionUnit MakeUnit(int begin, int end) const {
    ReconstructionUnit unit;
    for (int n = begin; n <= end; ++n) {
      unit.nodes.push_back(n);
      for (const ValueId id : NodeAt(n).inputs) {
        const auto made = made_.find(id);
        const bool outside = made != made_.end() && made->second < begin;
        if (outside && std::find(unit.inputs.begin(), unit.inputs.end(), id) == unit.inputs.end())
          unit.inputs.push_back(id);
      }
    }
    for (const ValueId id : LiveAfter(end)) {
      if (made_.at(id) >= begin) unit.outputs.push_back(id);
    }
    return unit;
  }

  const Graph& graph_;
  const std::set<int> multipliers_;
  std::map<ValueId, int> made_;      // by which node; -1: an input of the graph
  std::map<ValueId, int> last_use_;  // nodes' count: an output of the graph
};

}  // namespace

std::vector<ReconstructionUnit> ReconstructionUnits(const Graph& graph,
                                                    const QuantSelection& selection) {
  return Cutter(graph, selection).Run();
}

}  // namespace ds
