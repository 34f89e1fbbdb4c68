#include "executor/plan.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/batch_norm.h"
#include "executor/unsigned.h"
#include "graph/schema/nearest_ops.h"

namespace ds::executor {

namespace {

const FactoryTable& Factories() {
  static const FactoryTable table = [] {
    FactoryTable made;
    AddLinear(made);
    AddElementwise(made);
    AddActivations(made);
    AddLogic(made);
    AddReductions(made);
    AddGroupNormalization(made);
    AddArrangement(made);
    AddNormalization(made);
    AddPooling(made);
    AddMovement(made);
    AddQuantization(made);
    AddResize(made);
    AddShapes(made);
    AddRecurrent(made);
    AddConvTranspose(made);
    AddScatter(made);
    AddDetection(made);
    return made;
  }();
  return table;
}

absl::Status UnknownOp(const Node& node) {
  return absl::UnimplementedError(
      absl::StrCat("node '", node.name, "': the executor has no operator ", node.op,
                   NearestOps(node.op), "; express the node by operators of docs/onnx.md"));
}

// A batch normalisation and what is fused into it; -1 where there is nothing.
struct Pattern {
  int add = -1;
  int clamp = -1;
  int last(int first) const { return clamp >= 0 ? clamp : add >= 0 ? add : first; }
};

class Planner {
 public:
  Planner(const Graph& graph, const std::set<ValueId>& visible)
      : graph_(graph),
        visible_(visible),
        uses_(graph.values().size(), 0),
        reader_(graph.values().size(), -1),
        maker_(graph.values().size(), -1),
        fused_into_(graph.nodes().size(), -1) {
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      for (const ValueId id : graph.nodes()[n].inputs) {
        if (id == kNoValue) continue;
        ++uses_[static_cast<size_t>(id)];
        reader_[static_cast<size_t>(id)] = static_cast<int>(n);
      }
      for (const ValueId id : graph.nodes()[n].outputs) {
        if (id != kNoValue) maker_[static_cast<size_t>(id)] = static_cast<int>(n);
      }
    }
    for (const ValueId id : graph.outputs()) uses_[static_cast<size_t>(id)] += 2;
  }

  absl::StatusOr<std::vector<Step>> Run() {
    const int nodes = static_cast<int>(graph_.nodes().size());
    std::vector<Pattern> patterns(static_cast<size_t>(nodes));
    for (int n = 0; n < nodes; ++n) {
      if (Node_(n).op == "BatchNormalization") patterns[static_cast<size_t>(n)] = Match(n);
    }
    for (int n = 0; n < nodes; ++n) {
      // A fused step stands where its last node stood: all its inputs exist by then.
      const int first =
          fused_into_[static_cast<size_t>(n)] >= 0 ? fused_into_[static_cast<size_t>(n)] : n;
      const Pattern& pattern = patterns[static_cast<size_t>(first)];
      if (pattern.last(first) != n) continue;
      DS_ASSIGN_OR_RETURN(Step step, first != n ? MakeFused(first, pattern) : MakeSingle(n));
      steps_.push_back(std::move(step));
    }
    PlanReleases();
    return std::move(steps_);
  }

 private:
  const Node& Node_(int n) const { return graph_.nodes()[static_cast<size_t>(n)]; }

  // The node that alone reads output 0 of node n, or -1; -1 also where others want to see it.
  int OnlyReader(int n) const {
    const size_t out = static_cast<size_t>(Node_(n).outputs[0]);
    if (visible_.contains(Node_(n).outputs[0])) return -1;
    return uses_[out] == 1 ? reader_[out] : -1;
  }

  bool IsFixedClamp(int n) const {
    const Node& node = Node_(n);
    if (node.op == "Relu") return true;
    if (node.op != "Clip") return false;
    const NodeView view{graph_, node};
    for (int i = 1; i <= 2; ++i) {
      if (view.Has(i) && !view.ConstantScalar(i).has_value()) return false;
    }
    return true;
  }

  Pattern Match(int batch_norm) {
    Pattern pattern;
    int next = OnlyReader(batch_norm);
    if (next >= 0 && Node_(next).op == "Add" && fused_into_[static_cast<size_t>(next)] < 0) {
      pattern.add = next;
      next = OnlyReader(next);
    }
    if (next >= 0 && IsFixedClamp(next)) pattern.clamp = next;
    for (const int n : {pattern.add, pattern.clamp}) {
      if (n >= 0) fused_into_[static_cast<size_t>(n)] = batch_norm;
    }
    return pattern;
  }

  Step MakeFused(int first, const Pattern& pattern) {
    Step step;
    step.node = first;
    step.inputs = Node_(first).inputs;
    step.outputs = Node_(pattern.last(first)).outputs;
    BatchNormOptions options = ReadBatchNormOptions(Node_(first));
    if (pattern.add >= 0) {
      const auto& operands = Node_(pattern.add).inputs;
      step.inputs.push_back(operands[0] == Node_(first).outputs[0] ? operands[1] : operands[0]);
    }
    if (pattern.clamp >= 0) {
      const NodeView view{graph_, Node_(pattern.clamp)};
      const bool relu = view.node.op == "Relu";
      options.low = relu ? 0.0 : view.ConstantScalar(1).value_or(options.low);
      options.high = relu ? options.high : view.ConstantScalar(2).value_or(options.high);
    }
    Finish(step);
    const NodeView last{graph_, Node_(pattern.last(first))};
    step.kernel = [options, adds = pattern.add >= 0,
                   half = DeclaredHalf(last, 0)](const Call& call) {
      const at::Tensor y =
          BatchNorm({call.In(0), call.In(1), call.In(2), call.In(3), call.In(4)},
                    adds ? call.In(5) : at::Tensor(), options, call.run.trains_norms());
      call.Set(0, Narrowed(y, half));
    };
    return step;
  }

  absl::StatusOr<Step> MakeSingle(int n) {
    const Node& node = Node_(n);
    const auto factory = Factories().find(node.op);
    if (factory == Factories().end()) return UnknownOp(node);
    auto kernel = factory->second(NodeView{graph_, node});
    if (!kernel.ok()) {
      return Annotate(kernel.status(), absl::StrCat("node '", node.name, "' (", node.op, ")"));
    }
    Step step;
    step.kernel = ThroughInt64(NodeView{graph_, node}, *std::move(kernel));
    step.node = n;
    step.inputs = node.inputs;
    step.outputs = node.outputs;
    step.may_overwrite = MayOverwrite(node);
    Finish(step);
    return step;
  }

  void Finish(Step& step) const {
    for (const ValueId id : step.inputs) {
      step.is_weight.push_back(id != kNoValue && graph_.IsInitializer(id));
    }
  }

  // Operators whose backward does not look at their result, and whose result is memory of its own.
  bool MayOverwrite(const Node& node) const {
    if (node.op != "Relu" && node.op != "Add") return false;
    const size_t id = static_cast<size_t>(node.inputs[0]);
    if (uses_[id] != 1 || maker_[id] < 0) return false;
    const std::string& op = Node_(maker_[id]).op;
    // An addition fused into a batch normalisation has its result kept for the backward pass.
    if (op == "Add" || op == "Sub") return fused_into_[static_cast<size_t>(maker_[id])] < 0;
    return op == "Conv" || op == "Gemm";
  }

  void PlanReleases() {
    std::vector<int> last(graph_.values().size(), -1);
    for (size_t s = 0; s < steps_.size(); ++s) {
      for (const auto* ids : {&steps_[s].inputs, &steps_[s].outputs}) {
        for (const ValueId id : *ids) {
          if (id != kNoValue) last[static_cast<size_t>(id)] = static_cast<int>(s);
        }
      }
    }
    for (const ValueId id : graph_.outputs()) last[static_cast<size_t>(id)] = -1;
    for (size_t id = 0; id < last.size(); ++id) {
      if (last[id] >= 0) {
        steps_[static_cast<size_t>(last[id])].release.push_back(static_cast<ValueId>(id));
      }
    }
  }

  const Graph& graph_;
  const std::set<ValueId>& visible_;
  std::vector<int> uses_;    // a graph output counts twice: it is never somebody's alone
  std::vector<int> reader_;  // last node that reads the value
  std::vector<int> maker_;
  std::vector<int> fused_into_;  // the batch normalisation that has swallowed the node, or -1
  std::vector<Step> steps_;
};

}  // namespace

absl::StatusOr<std::vector<Step>> MakePlan(const Graph& graph, const std::set<ValueId>& visible) {
  return Planner(graph, visible).Run();
}

}  // namespace ds::executor
