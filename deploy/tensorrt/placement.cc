#include "deploy/tensorrt/placement.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/qdq/weights.h"

namespace ds::qdq {
namespace {

constexpr int kActivationBits = 8;
constexpr int kMostWeightOnlyBits = 4;

constexpr char kSymmetric[] = "quantise with symmetric activations (profile 'tensorrt')";

absl::Status Refuse(absl::string_view what, const std::string& name, const std::string& why,
                    absl::string_view mend) {
  return absl::InvalidArgumentError(absl::StrCat("the plan for the ", what, " '", name,
                                                 "' is not TensorRT's: ", why, "; ", mend));
}

absl::Status CheckActivation(const std::string& name, const QuantParams& params) {
  if (!params.type.is_signed) {
    return Refuse("activation", name, "its codes are unsigned instead of int8", kSymmetric);
  }
  if (params.type.bits != kActivationBits) {
    return Refuse("activation", name, absl::StrCat("it has ", params.type.bits, " bits"),
                  "give activations 8");
  }
  if (params.zero_points[0] == 0) return absl::OkStatus();
  return Refuse("activation", name,
                absl::StrCat("its zero point is ", params.zero_points[0], ", not 0"), kSymmetric);
}

absl::Status CheckGroups(const Node& node, const std::string& name, const Tensor& weight,
                         const QuantParams& params) {
  constexpr char kMend[] = "choose another group, none, or 8 bits without one";
  if (!IsWeightOnly(node, params)) {
    return Refuse("weight", name, "only Gemm and MatMul of 4 bits or fewer have scales for groups",
                  kMend);
  }
  const int64_t extent = weight.dim(params.axis);
  if (extent % params.group == 0) return absl::OkStatus();
  return Refuse("weight", name,
                absl::StrCat("groups of ", params.group, " do not divide its ", extent, " inputs"),
                kMend);
}

absl::Status CheckWeight(const Node& node, int slot, const std::string& name, const Tensor& weight,
                         const QuantParams& params) {
  const auto& zeros = params.zero_points;
  if (!params.type.is_signed || std::count(zeros.begin(), zeros.end(), 0) != std::ssize(zeros)) {
    return Refuse("weight", name, "it is not signed with zero point 0", "make it so");
  }
  if (params.group > 0) return CheckGroups(node, name, weight, params);
  const int axis = OutputAxis(node, slot, weight.rank());
  if (params.axis == QuantParams::kWholeTensor || params.axis == axis) return absl::OkStatus();
  return Refuse("weight", name,
                absl::StrCat("its scales lie along axis ", params.axis, " instead of ", axis),
                "scales go with outputs");
}

// Works backwards: what is behind a node is known before the node itself.
class Trimmer {
 public:
  Trimmer(const Graph& graph, const QuantPlan& plan, Placement& placement)
      : graph_(graph),
        uses_(graph),
        plan_(plan),
        placement_(placement),
        wanted_(graph.values().size(), false) {}

  void Run() {
    for (size_t i = graph_.nodes().size(); i-- > 0;) Visit(graph_.nodes()[i]);
    for (size_t id = 0; id < wanted_.size(); ++id) {
      if (!wanted_[id]) placement_.values[id].reset();
    }
  }

 private:
  void Want(ValueId id) {
    if (placement_.Quantised(id)) wanted_[static_cast<size_t>(id)] = true;
  }
  bool Wanted(ValueId id) const { return wanted_[static_cast<size_t>(id)]; }

  void Visit(const Node& node) {
    if (plan_.left_in_float.contains(node.name)) return;
    if (node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul") return Multiply(node);
    const bool averages = node.op == "AveragePool" || node.op == "GlobalAveragePool";
    if ((averages || KeepsValues(node)) && AnyWanted(node.outputs)) return Want(node.inputs[0]);
    if (node.op == "Add" && AnyWanted({End(node)})) Add(node);
  }

  void Multiply(const Node& node) {
    const QuantParams* weight = WeightOf(node.inputs[1]);
    if (weight != nullptr) {
      if (!IsWeightOnly(node, *weight)) Want(node.inputs[0]);
    } else if (node.op == "MatMul" && placement_.Quantised(node.inputs[0]) &&
               placement_.Quantised(node.inputs[1])) {
      Want(node.inputs[0]);
      Want(node.inputs[1]);
    }
  }

  void Add(const Node& node) {
    const std::optional<size_t> fused = FusedSlot(graph_, uses_, node);
    // Added to what a float convolution writes, an INT8 operand would be made float first.
    if (fused && !RunsInInt8(graph_.nodes()[uses_.ProducerIndex(node.inputs[*fused])])) return;
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (slot != fused) Want(node.inputs[slot]);
    }
  }

  bool RunsInInt8(const Node& conv) const {
    return !plan_.left_in_float.contains(conv.name) && WeightOf(conv.inputs[1]) != nullptr &&
           placement_.Quantised(conv.inputs[0]);
  }

  const QuantParams* WeightOf(ValueId id) const {
    if (!graph_.IsInitializer(id)) return nullptr;
    const auto found = plan_.weights.find(graph_.value(id).name);
    return found == plan_.weights.end() ? nullptr : &found->second;
  }

  bool AnyWanted(const std::vector<ValueId>& ids) const {
    return std::any_of(ids.begin(), ids.end(), [this](ValueId id) { return Wanted(id); });
  }

  // The node's result, or that of the clamp which alone reads it: one kernel computes both.
  ValueId End(const Node& node) const {
    const ValueId id = node.outputs[0];
    if (Wanted(id) || uses_.Count(id) != 1) return id;
    const std::vector<int> readers = graph_.Consumers(id);
    if (readers.empty() || !ClampOf(graph_, graph_.nodes()[readers[0]])) return id;
    return graph_.nodes()[readers[0]].outputs[0];
  }

  const Graph& graph_;
  const Uses uses_;
  const QuantPlan& plan_;
  Placement& placement_;
  std::vector<bool> wanted_;  // by ValueId
};

}  // namespace

bool IsWeightOnly(const Node& node, const QuantParams& params) {
  return node.op != "Conv" && params.type.bits <= kMostWeightOnlyBits;
}

std::optional<size_t> FusedSlot(const Graph& graph, const Uses& uses, const Node& add) {
  std::optional<size_t> best;
  int latest = -1;
  for (size_t slot = 0; slot < add.inputs.size(); ++slot) {
    const ValueId id = add.inputs[slot];
    const int producer = uses.ProducerIndex(id);
    if (producer <= latest || uses.Count(id) != 1) continue;
    if (graph.nodes()[producer].op != "Conv") continue;
    latest = producer;
    best = slot;
  }
  return best;
}

absl::Status CheckPlanForTensorRT(const Graph& graph, const QuantPlan& plan) {
  for (const auto& [name, params] : plan.activations) {
    DS_RETURN_IF_ERROR(CheckActivation(name, params));
  }
  for (const Node& node : graph.nodes()) {
    for (const int slot : WeightSlots(node)) {
      const std::string& name = graph.value(node.inputs[slot]).name;
      const auto found = plan.weights.find(name);
      if (found == plan.weights.end()) continue;
      const Tensor& weight = *graph.Constant(node.inputs[slot]);
      DS_RETURN_IF_ERROR(CheckWeight(node, slot, name, weight, found->second));
    }
  }
  return absl::OkStatus();
}

void KeepWhatTensorRTReads(const Graph& graph, const QuantPlan& plan, Placement& placement) {
  Trimmer(graph, plan, placement).Run();
}

}  // namespace ds::qdq
