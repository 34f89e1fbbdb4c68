#include "graph/onnx/rewrite/branches.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ds::onnx_io {
namespace {

enum Side : int { kNeither = 0, kYes = 1, kNo = 2 };  // the slots of Where, too

struct Candidate {
  std::vector<int> wheres;
  std::vector<int> sides[3];  // by Side

  size_t size() const { return sides[kYes].size() + sides[kNo].size(); }
};

bool IsHeavy(const Node& node) {
  static const std::set<std::string> kHeavy = {
      "Conv",        "ConvTranspose", "ConvInteger",   "QLinearConv", "MatMul", "Gemm", "QGemm",
      "MatMulNBits", "MatMulInteger", "QLinearMatMul", "Einsum",      "LSTM",   "GRU",  "RNN"};
  return kHeavy.contains(node.op);
}

// Whether it makes a difference that it runs.
bool IsRandom(const Node& node) {
  return absl::StartsWith(node.op, "Random") || node.op == "Bernoulli" || node.op == "Multinomial";
}

class Planner {
 public:
  Planner(const Graph& graph, const DimNames& names)
      : graph_(graph),
        names_(names),
        producers_(graph.values().size(), -1),
        readers_(graph.values().size()),
        is_output_(graph.values().size(), false),
        region_of_(graph.nodes().size(), 0) {
    for (int i = 0; i < NodeCount(); ++i) {
      const Node& node = graph.nodes()[i];
      for (const ValueId id : node.outputs) {
        if (id != kNoValue) producers_[id] = i;
      }
      for (int slot = 0; slot < static_cast<int>(node.inputs.size()); ++slot) {
        if (node.inputs[slot] != kNoValue) readers_[node.inputs[slot]].emplace_back(i, slot);
      }
    }
    for (const ValueId id : graph.outputs()) is_output_[id] = true;
  }

  BranchPlan Plan() {
    std::vector<int> all(NodeCount());
    for (int i = 0; i < NodeCount(); ++i) all[i] = i;
    plan_.regions.emplace_back();
    Fill(0, all);
    PlaceInitializers();
    return std::move(plan_);
  }

  const std::vector<int>& region_of() const { return region_of_; }
  int producer(ValueId id) const { return id == kNoValue ? -1 : producers_[id]; }

 private:
  int NodeCount() const { return static_cast<int>(graph_.nodes().size()); }

  void Fill(int region, const std::vector<int>& nodes) {
    for (const int i : nodes) region_of_[i] = region;
    std::vector<Candidate> found = Candidates(nodes);
    // The outer ones first: what lies in them is found again when they are filled.
    std::ranges::stable_sort(found, std::greater<>(), &Candidate::size);
    std::vector<Candidate> accepted;
    std::vector<int> unit(graph_.nodes().size(), -1);  // the accepted one that a node is of
    for (Candidate& each : found) {
      std::erase_if(each.wheres, [&](int i) { return unit[i] >= 0; });
      FindSides(nodes, unit, each);
      if (!IsWorthIt(each)) continue;
      accepted.push_back(std::move(each));
      Mark(accepted.back(), static_cast<int>(accepted.size()) - 1, unit);
      if (Order(nodes, unit, accepted).has_value()) continue;
      Mark(accepted.back(), -1, unit);  // two choices would wait for each other
      accepted.pop_back();
    }
    std::vector<Region::Step> steps = *Order(nodes, unit, accepted);
    const int first = static_cast<int>(plan_.choices.size());
    for (Region::Step& step : steps) step.choice += step.choice < 0 ? 0 : first;
    plan_.regions[region].steps = std::move(steps);
    plan_.choices.resize(plan_.choices.size() + accepted.size());
    for (size_t i = 0; i < accepted.size(); ++i) Add(region, accepted[i], first + i);
  }

  void Add(int region, const Candidate& candidate, size_t index) {
    Choice choice;
    choice.condition = graph_.nodes()[candidate.wheres[0]].inputs[0];
    for (const int i : candidate.wheres) choice.outputs.push_back(graph_.nodes()[i].outputs[0]);
    for (const Side side : {kYes, kNo}) {
      const int inner = static_cast<int>(plan_.regions.size());
      (side == kYes ? choice.yes : choice.no) = inner;
      plan_.regions.emplace_back().parent = region;
      for (const int i : candidate.wheres) {
        plan_.regions[inner].results.push_back(graph_.nodes()[i].inputs[side]);
      }
      Fill(inner, candidate.sides[side]);
    }
    plan_.choices[index] = std::move(choice);
  }

  static void Mark(const Candidate& candidate, int index, std::vector<int>& unit) {
    for (const int i : candidate.wheres) unit[i] = index;
    for (const Side side : {kYes, kNo}) {
      for (const int i : candidate.sides[side]) unit[i] = index;
    }
  }

  bool IsWorthIt(const Candidate& candidate) const {
    const auto heavy = [&](int i) { return IsHeavy(graph_.nodes()[i]); };
    return std::ranges::any_of(candidate.sides[kYes], heavy) ||
           std::ranges::any_of(candidate.sides[kNo], heavy);
  }

  // By condition, and by how many choices of that condition they wait for.
  std::vector<Candidate> Candidates(const std::vector<int>& nodes) const {
    std::map<ValueId, std::map<int, Candidate>> found;
    for (const int i : nodes) {
      if (IsChoice(graph_.nodes()[i])) found[graph_.nodes()[i].inputs[0]];
    }
    std::vector<Candidate> candidates;
    for (auto& [condition, levels] : found) {
      std::vector<int> depth(graph_.nodes().size(), 0);
      for (const int i : nodes) {
        const Node& node = graph_.nodes()[i];
        for (const ValueId id : node.inputs) {
          if (producer(id) >= 0) depth[i] = std::max(depth[i], depth[producer(id)]);
        }
        if (IsChoice(node) && node.inputs[0] == condition) levels[depth[i]++].wheres.push_back(i);
      }
      for (auto& [level, candidate] : levels) candidates.push_back(std::move(candidate));
    }
    const std::vector<int> none(graph_.nodes().size(), -1);
    for (Candidate& each : candidates) FindSides(nodes, none, each);
    return candidates;
  }

  bool IsChoice(const Node& node) const {
    if (node.op != "Where" || node.inputs.size() != 3 || node.outputs.size() != 1) return false;
    const auto& condition = graph_.value(node.inputs[0]).shape;
    const auto& result = graph_.value(node.outputs[0]).shape;
    if (graph_.IsInitializer(node.inputs[0]) || !condition.has_value() || !result.has_value() ||
        std::ranges::any_of(*condition, [](int64_t extent) { return extent != 1; })) {
      return false;
    }
    return SameExtents(node.inputs[1], node.outputs[0]) &&
           SameExtents(node.inputs[2], node.outputs[0]);
  }

  bool SameExtents(ValueId a, ValueId b) const {
    if (graph_.value(a).shape != graph_.value(b).shape) return false;
    const Shape& shape = *graph_.value(a).shape;
    for (int axis = 0; axis < static_cast<int>(shape.size()); ++axis) {
      if (shape[axis] != kDynamicDim) continue;
      const auto left = names_.find({a, axis}), right = names_.find({b, axis});
      if (left == names_.end() || right == names_.end() || left->second != right->second) {
        return false;
      }
    }
    return true;
  }

  // Of the nodes of no unit yet, those that are read for one side alone.
  void FindSides(const std::vector<int>& nodes, const std::vector<int>& unit,
                 Candidate& candidate) const {
    for (auto& side : candidate.sides) side.clear();
    std::vector<int> side_of(graph_.nodes().size(), kNeither);
    const absl::flat_hash_set<int> wheres(candidate.wheres.begin(), candidate.wheres.end());
    const auto side_of_reader = [&](const std::pair<int, int>& reader) {
      return wheres.contains(reader.first) ? reader.second : side_of[reader.first];
    };
    for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
      const Node& node = graph_.nodes()[*it];
      if (wheres.contains(*it) || unit[*it] >= 0 || IsRandom(node)) continue;
      std::set<int> found;
      for (const ValueId id : node.outputs) {
        if (id == kNoValue) continue;
        if (is_output_[id]) found.insert(kNeither);
        for (const auto& reader : readers_[id]) found.insert(side_of_reader(reader));
      }
      if (found.size() == 1) side_of[*it] = *found.begin();
    }
    for (const int i : nodes) {
      if (side_of[i] != kNeither) candidate.sides[side_of[i]].push_back(i);
    }
  }

  // Nodes and choices one after another, absent where some wait for each other in a circle. Stable.
  std::optional<std::vector<Region::Step>> Order(const std::vector<int>& nodes,
                                                 const std::vector<int>& unit,
                                                 const std::vector<Candidate>& accepted) const {
    const int count = NodeCount();
    const auto unit_of = [&](int i) { return unit[i] < 0 ? i : count + unit[i]; };
    std::map<int, std::set<int>> waits, wakes;
    const absl::flat_hash_set<int> inside(nodes.begin(), nodes.end());
    for (const int i : nodes) {
      waits[unit_of(i)];
      for (const ValueId id : graph_.nodes()[i].inputs) {
        const int from = producer(id);
        if (from < 0 || !inside.contains(from) || unit_of(from) == unit_of(i)) continue;
        waits[unit_of(i)].insert(unit_of(from));
        wakes[unit_of(from)].insert(unit_of(i));
      }
    }
    const auto place = [&](int id) {  // a choice stands where its last Where stood
      return std::pair(id < count ? id : accepted[id - count].wheres.back(), id);
    };
    std::set<std::pair<int, int>> ready;
    for (const auto& [id, open] : waits) {
      if (open.empty()) ready.insert(place(id));
    }
    std::vector<Region::Step> steps;
    while (!ready.empty()) {
      const int id = ready.begin()->second;
      ready.erase(ready.begin());
      steps.push_back({.node = id < count ? id : -1, .choice = id < count ? -1 : id - count});
      for (const int next : wakes[id]) {
        waits[next].erase(id);
        if (waits[next].empty()) ready.insert(place(next));
      }
    }
    if (steps.size() != waits.size()) return std::nullopt;
    return steps;
  }

  int Depth(int region) const {
    int depth = 0;
    for (; region > 0; region = plan_.regions[region].parent) ++depth;
    return depth;
  }

  int Common(int a, int b) const {
    while (a != b) {
      int& deeper = Depth(a) >= Depth(b) ? a : b;
      deeper = plan_.regions[deeper].parent;
    }
    return a;
  }

  void PlaceInitializers() {
    std::map<ValueId, int> place;
    const auto read = [&](ValueId id, int region) {
      if (!graph_.IsInitializer(id)) return;
      const auto [it, is_new] = place.emplace(id, region);
      if (!is_new) it->second = Common(it->second, region);
    };
    for (int r = 0; r < static_cast<int>(plan_.regions.size()); ++r) {
      for (const Region::Step& step : plan_.regions[r].steps) {
        if (step.node < 0) continue;
        for (const ValueId id : graph_.nodes()[step.node].inputs) read(id, r);
      }
      for (const ValueId id : plan_.regions[r].results) read(id, r);
    }
    for (const auto& [id, initializer] : graph_.initializers()) {
      const auto it = place.find(id);
      const int region = it == place.end() || is_output_[id] ? 0 : it->second;
      plan_.regions[region].initializers.push_back(id);
    }
  }

  const Graph& graph_;
  const DimNames& names_;
  std::vector<int> producers_;                             // value -> node
  std::vector<std::vector<std::pair<int, int>>> readers_;  // value -> (node, slot)
  std::vector<bool> is_output_;
  std::vector<int> region_of_;  // node -> the innermost region
  BranchPlan plan_;
};

void CopyExtents(ValueId from, ValueId to, size_t rank, DimNames& names) {
  for (int axis = 0; axis < static_cast<int>(rank); ++axis) {
    const auto extent = names.find({from, axis});
    if (extent == names.end()) continue;
    std::string name = extent->second;
    names[{to, axis}] = std::move(name);
  }
}

// Each branch gets its own of those that lie in front of it. False where there was none.
bool RepeatDequantizers(Graph& graph, DimNames& names, DimNames& equal, const Planner& planner) {
  std::map<std::pair<ValueId, int>, ValueId> own;  // by value and region
  std::vector<Node> added;
  for (size_t i = 0; i < planner.region_of().size(); ++i) {
    const int region = planner.region_of()[i];
    for (ValueId& id : graph.mutable_nodes()[i].inputs) {
      const int from = planner.producer(id);
      if (region == 0 || from < 0 || planner.region_of()[from] == region ||
          graph.nodes()[from].op != "DequantizeLinear") {
        continue;
      }
      const auto [it, is_new] = own.emplace(std::pair(id, region), kNoValue);
      if (is_new) {
        const Value value = graph.value(id);
        const std::string name = absl::StrCat(value.name, ".branch");
        it->second = graph.AddValue(name, value.dtype, value.shape);
        const size_t rank = value.shape->size();
        CopyExtents(id, it->second, rank, names);
        CopyExtents(id, it->second, rank, equal);
        Node copy = graph.nodes()[from];
        copy.name = graph.value(it->second).name;
        copy.outputs = {it->second};
        added.push_back(std::move(copy));
      }
      id = it->second;
    }
  }
  for (Node& node : added) graph.AddNode(std::move(node));
  absl::flat_hash_set<ValueId> read(graph.outputs().begin(), graph.outputs().end());
  for (const Node& node : graph.nodes()) read.insert(node.inputs.begin(), node.inputs.end());
  std::erase_if(graph.mutable_nodes(), [&](const Node& node) {  // those that only branches read
    return node.op == "DequantizeLinear" && !read.contains(node.outputs[0]);
  });
  return !added.empty();
}

}  // namespace

BranchPlan PlanBranches(Graph& graph, DimNames& names) {
  const bool chooses =
      std::ranges::any_of(graph.nodes(), [](const Node& node) { return node.op == "Where"; });
  DimNames equal = chooses ? NameEqualDims(graph) : DimNames();
  Planner planner(graph, equal);
  BranchPlan plan = planner.Plan();
  if (!RepeatDequantizers(graph, names, equal, planner)) return plan;
  // The copies stand at the end, and have no circles.
  graph.SortTopologically().IgnoreError();
  return Planner(graph, equal).Plan();
}

}  // namespace ds::onnx_io
