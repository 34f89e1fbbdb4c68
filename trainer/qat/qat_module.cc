#include "trainer/qat/qat_module.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/prepare.h"
#include "deploy/qdq/weights.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "quant/selection.h"
#include "trainer/qat/live_norms.h"
#include "trainer/qat/quant_site.h"

namespace ds {
namespace {

constexpr int kNone = QuantSite::kNone;

// What the transform does with a value.
struct Role {
  int site = kNone;        // whose codes the value has
  bool rounds = false;     // it is rounded here (else where it came from)
  int bias_input = kNone;  // of a bias: the sites of its node's input and weight
  int bias_weight = kNone;
};

class LsqModule final : public QatModule {
 public:
  absl::Status Prepare(const Graph& model, const Graph& folded, const QuantPlan& plan) {
    DS_ASSIGN_OR_RETURN(const qdq::Prepared prepared, PrepareGraph(folded, plan));
    DS_ASSIGN_OR_RETURN(qdq::Prepared training, PrepareGraph(model, plan));
    left_in_float_ = plan.left_in_float;
    const Graph& graph = prepared.graph;
    const qdq::Placement placement = qdq::Place(graph, prepared.activations);
    DS_ASSIGN_OR_RETURN(const qdq::WeightPlan weights, qdq::PlanWeights(graph, plan, placement));
    DS_ASSIGN_OR_RETURN(const std::vector<NormPair> pairs, FindLiveNorms(training.graph, graph));
    MakeGammasPositive(training.graph, pairs);
    const Counterparts counterparts(graph, training.graph, pairs);
    DS_RETURN_IF_ERROR(CreateInner(std::move(training.graph), graph, placement, counterparts));
    for (const NormPair& pair : pairs) {
      const Node& conv = inner_->graph().nodes()[static_cast<size_t>(pair.conv)];
      norm_of_[conv.inputs[1]] = static_cast<int>(norms_.size());
      norms_.push_back(NormOf(*inner_, pair));
    }
    roles_.resize(graph.values().size());
    FindWide(graph);
    for (const ValueId input : graph.inputs()) AddValue(graph, placement, input);
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      DS_RETURN_IF_ERROR(AddNode(graph, plan, placement, counterparts, static_cast<int>(n)));
    }
    for (const auto& [node, use] : weights.biases) {
      Role& bias = roles_[static_cast<size_t>(use.bias)];
      bias.bias_input = roles_[static_cast<size_t>(use.input)].site;
      bias.bias_weight = roles_[static_cast<size_t>(use.weight)].site;
    }
    MoveRoles(counterparts);
    ListParameters();
    inner_->set_value_transform(
        [this](ValueId id, const at::Tensor& tensor) { return Transform(id, tensor); });
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<at::Tensor>> Forward(const std::vector<at::Tensor>& inputs) override {
    KeepPositive();
    return inner_->Forward(inputs);
  }
  void set_training(bool training) override { inner_->set_training(training); }
  void set_norms_frozen(bool frozen) override { inner_->set_norms_frozen(frozen); }
  void set_precision(Precision precision) override { inner_->set_precision(precision); }
  Precision precision() const override { return inner_->precision(); }
  void set_dropout_key(uint64_t seed, uint64_t step, uint64_t rank) override {
    inner_->set_dropout_key(seed, step, rank);
  }
  void set_value_observer(ValueObserver observer) override {
    inner_->set_value_observer(std::move(observer));
  }
  // The fake quantisation is this module's transform; another one comes after it.
  void set_value_transform(ValueTransform transform) override { next_ = std::move(transform); }
  const std::vector<NamedTensor>& parameters() const override { return parameters_; }
  const std::vector<NamedTensor>& buffers() const override { return buffers_; }
  void PutInRange() override { KeepPositive(); }
  const std::vector<int>& forward_order() const override { return forward_order_; }
  const Graph& graph() const override { return inner_->graph(); }

  Graph ExportGraph() const override {
    const at::NoGradGuard no_grad;
    KeepPositive();
    Graph graph = inner_->ExportGraph();
    for (const QuantSite& site : sites_) {
      if (!site.is_weight) continue;
      auto rounded = FromTorch(site.Rounded(site.master));
      DS_CHECK(rounded.ok()) << rounded.status();
      graph.mutable_initializers().at(site.id).data = *std::move(rounded);
    }
    // The graph went through both when the module was made.
    absl::Status folded = FoldBatchNorms(graph);
    if (folded.ok()) folded = InferShapes(graph);
    DS_CHECK(folded.ok()) << folded;
    return graph;
  }

  QuantPlan Plan() const override {
    QuantPlan plan;
    plan.left_in_float = left_in_float_;
    KeepPositive();
    for (const QuantSite& site : sites_) {
      QuantParams params = {
          .type = site.type, .axis = site.axis, .group = 0, .scales = {}, .zero_points = {}};
      at::Tensor folded = site.step.detach();
      if (site.norm != kNone) folded = folded * norms_[static_cast<size_t>(site.norm)].Factor();
      const float* steps = folded.const_data_ptr<float>();
      params.scales.assign(steps, steps + folded.numel());
      params.zero_points.assign(params.scales.size(), site.zero());
      (site.is_weight ? plan.weights : plan.activations)[site.name] = std::move(params);
    }
    return plan;
  }

  void set_bits(const QatBits& bits) override {
    for (QuantSite& site : sites_) site.type = site.TypeWith(bits);
  }

  void ChangeBits(const QatBits& bits) override {
    const at::NoGradGuard no_grad;
    for (QuantSite& site : sites_) site.ChangeBits(bits);
  }

 private:
  // What an optimiser's step may have broken.
  void KeepPositive() const {
    const at::NoGradGuard no_grad;
    for (const QuantSite& site : sites_) site.step.clamp_min_(kLeastStep);
    for (const LiveNorm& norm : norms_) norm.gamma.clamp_min_(kLeastStep);
  }

  static absl::StatusOr<qdq::Prepared> PrepareGraph(Graph graph, const QuantPlan& plan) {
    DS_RETURN_IF_ERROR(InferShapes(graph));
    return qdq::Prepare(graph, plan);
  }

  // What is rounded must not be swallowed by a fused step.
  absl::Status CreateInner(Graph training, const Graph& folded, const qdq::Placement& placement,
                           const Counterparts& counterparts) {
    GraphModuleOptions options;
    for (size_t id = 0; id < folded.values().size(); ++id) {
      const auto value = static_cast<ValueId>(id);
      if (!placement.Quantised(value)) continue;
      const ValueId live = counterparts.Of(value);
      if (live == kNoValue) {
        return absl::InternalError(absl::StrCat("value \"", folded.value(value).name,
                                                "\" is not in the model that was folded"));
      }
      options.visible.insert(live);
    }
    DS_ASSIGN_OR_RETURN(inner_, GraphModule::Create(std::move(training), options));
    return absl::OkStatus();
  }

  // From the folded graph's values to those of the graph that trains.
  void MoveRoles(const Counterparts& counterparts) {
    std::vector<Role> moved(graph().values().size());
    for (size_t id = 0; id < roles_.size(); ++id) {
      const ValueId live = counterparts.Of(static_cast<ValueId>(id));
      if (live != kNoValue) moved[static_cast<size_t>(live)] = roles_[id];
    }
    roles_ = std::move(moved);
  }

  // Names of what the first and the last layer read, and of what is only added.
  void FindWide(const Graph& graph) {
    const QuantSelection selection = SelectForQuantization(graph);
    for (const WeightSite& site : selection.weights) {
      if (IsEnd(selection, site.node)) ends_.insert(graph.value(site.weight).name);
    }
    for (const ActivationSite& site : selection.activations) {
      const std::string& name = graph.value(site.value).name;
      if (IsReadAtEnd(selection, site)) ends_.insert(name);
      if (OnlyAdded(graph, site)) added_.insert(name);
    }
  }

  int AddSite(QuantSite site) {
    site.at_end = ends_.contains(site.name);
    site.added = added_.contains(site.name);
    site.step.set_requires_grad(true);
    sites_.push_back(std::move(site));
    return static_cast<int>(sites_.size()) - 1;
  }

  void AddValue(const Graph& graph, const qdq::Placement& placement, ValueId id) {
    if (!placement.Quantised(id)) return;
    const QuantParams& params = *placement.values[static_cast<size_t>(id)];
    QuantSite site;
    site.name = graph.value(id).name;
    site.type = params.type;
    site.step = at::full({1}, params.scales[0], at::kFloat);
    site.zero_point = at::full({1}, params.zero_points[0], at::kInt);
    roles_[static_cast<size_t>(id)] = {.site = AddSite(std::move(site)), .rounds = true};
  }

  absl::Status AddNode(const Graph& graph, const QuantPlan& plan, const qdq::Placement& placement,
                       const Counterparts& counterparts, int n) {
    const Node& node = graph.nodes()[static_cast<size_t>(n)];
    if (!plan.left_in_float.contains(node.name)) {
      for (const int slot : qdq::WeightSlots(node))
        DS_RETURN_IF_ERROR(
            AddWeight(graph, plan, counterparts, node.inputs[static_cast<size_t>(slot)]));
    }
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      // Codes that are passed on need no rounding again.
      if (placement.passes_on[static_cast<size_t>(n)]) {
        roles_[static_cast<size_t>(id)].site = roles_[static_cast<size_t>(node.inputs[0])].site;
      } else {
        AddValue(graph, placement, id);
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddWeight(const Graph& graph, const QuantPlan& plan,
                         const Counterparts& counterparts, ValueId id) {
    const std::string& name = graph.value(id).name;
    const auto planned = plan.weights.find(name);
    if (planned == plan.weights.end() || roles_[static_cast<size_t>(id)].site != kNone)
      return absl::OkStatus();
    const QuantParams& params = planned->second;
    if (params.group > 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "weight \"", name, "\": the plan has groups of ", params.group,
          " weights; in training an output channel has one step: make the plan without groups"));
    }
    QuantSite site;
    site.id = counterparts.Of(id);
    if (site.id == kNoValue) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight \"", name,
                       "\" is not in the model that trains: make the plan for training "
                       "(QuantizerOptions::for_training)"));
    }
    const std::string& own_name = this->graph().value(site.id).name;
    const auto found =
        std::find_if(inner_->parameters().begin(), inner_->parameters().end(),
                     [&](const NamedTensor& parameter) { return parameter.name == own_name; });
    if (found == inner_->parameters().end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight \"", own_name,
                       "\" is not trainable: export the model with its weights as initialisers"));
    }
    site.name = name;
    site.is_weight = true;
    site.type = WeightType(params.type.bits);
    site.axis = params.axis;
    site.master = found->tensor;
    at::Tensor planned_steps = at::tensor(params.scales, at::kFloat);
    if (const auto norm = norm_of_.find(site.id); norm != norm_of_.end()) {
      site.norm = norm->second;
      planned_steps =
          planned_steps / norms_[static_cast<size_t>(site.norm)].Factor().clamp_min(kLeastStep);
    }
    site.step = site.InitialSteps(planned_steps);
    roles_[static_cast<size_t>(id)] = {.site = AddSite(std::move(site)), .rounds = true};
    return absl::OkStatus();
  }

  // The inner module's parameters and then the steps; the order of the forward pass has each step
  // where it is used first.
  void ListParameters() {
    parameters_ = inner_->parameters();
    buffers_ = inner_->buffers();
    const int own = static_cast<int>(parameters_.size());
    std::map<std::string, int> index;
    for (int i = 0; i < own; ++i) index[parameters_[static_cast<size_t>(i)].name] = i;
    for (const QuantSite& site : sites_) {
      const std::string& name = site.is_weight ? graph().value(site.id).name : site.name;
      parameters_.push_back({name + ".step", site.step, "LearnedStep", 1});
      if (!site.is_weight)
        buffers_.push_back({site.name + ".zero_point", site.zero_point, "LearnedStep", 2});
    }
    std::vector<char> seen(parameters_.size(), 0);
    const auto add = [&](int parameter) {
      if (std::exchange(seen[static_cast<size_t>(parameter)], 1) == 0)
        forward_order_.push_back(parameter);
    };
    const auto visit = [&](ValueId id) {
      if (id == kNoValue) return;
      const auto found = index.find(graph().value(id).name);
      if (found != index.end()) add(found->second);
      if (roles_[static_cast<size_t>(id)].rounds) add(own + roles_[static_cast<size_t>(id)].site);
    };
    for (const ValueId id : graph().inputs()) visit(id);
    for (const Node& node : graph().nodes()) {
      for (const ValueId id : node.inputs) visit(id);
      for (const ValueId id : node.outputs) visit(id);
    }
  }

  at::Tensor Transform(ValueId id, const at::Tensor& tensor) {
    at::Tensor result = Quantized(roles_[static_cast<size_t>(id)], tensor);
    if (!next_) return result;
    const at::Tensor changed = next_(id, result.defined() ? result : tensor);
    return changed.defined() ? changed : result;
  }

  at::Tensor Quantized(const Role& role, const at::Tensor& tensor) const {
    if (role.bias_input != kNone && role.bias_weight != kNone) {
      const at::Tensor& input_step = sites_[static_cast<size_t>(role.bias_input)].step;
      const QuantSite& weight = sites_[static_cast<size_t>(role.bias_weight)];
      const at::Tensor live = weight.LiveChannels();
      if (weight.norm == kNone) return RoundBias(tensor, input_step, weight.step, live);
      // Folded and rounded, the bias will differ from the unrounded one by what beta gets here.
      const LiveNorm& norm = norms_[static_cast<size_t>(weight.norm)];
      const at::Tensor folded = norm.FoldedBias();
      return tensor + (RoundBias(folded, input_step, weight.step * norm.Factor(), live) - folded);
    }
    if (!role.rounds) return {};
    return sites_[static_cast<size_t>(role.site)].Rounded(tensor);
  }

  std::unique_ptr<GraphModule> inner_;
  std::map<std::string, std::string> left_in_float_;
  std::set<std::string> ends_, added_;
  std::vector<QuantSite> sites_;
  std::vector<Role> roles_;  // by ValueId
  std::vector<LiveNorm> norms_;
  std::map<ValueId, int> norm_of_;  // by the weight that comes before it, into norms_
  std::vector<NamedTensor> parameters_, buffers_;
  std::vector<int> forward_order_;
  ValueTransform next_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QatModule>> QatModule::Create(const Graph& model,
                                                             const Graph& folded,
                                                             const QuantPlan& plan) {
  auto module = std::make_unique<LsqModule>();
  DS_RETURN_IF_ERROR(module->Prepare(model, folded, plan));
  return module;
}

}  // namespace ds
