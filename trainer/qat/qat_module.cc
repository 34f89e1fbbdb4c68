#include "trainer/qat/qat_module.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/qdq_placement.h"
#include "deploy/qdq_prepare.h"
#include "deploy/qdq_weights.h"
#include "graph/schema.h"
#include "quant/selection.h"
#include "quant/torch/lsq.h"

namespace ds {
namespace {

constexpr int kNone = -1;

// A weight or a value with a step of its own.
struct Site {
  std::string name;
  bool is_weight = false;
  bool at_end = false;  // of the first or the last layer
  QuantType type;
  int axis = QuantParams::kWholeTensor;
  at::Tensor step;        // fp32 [1], of weights [channels]; a parameter
  at::Tensor zero_point;  // int32 [1]; of activations
  int32_t zero() const { return is_weight ? 0 : *zero_point.const_data_ptr<int32_t>(); }
};

// What the transform does with a value.
struct Role {
  int site = kNone;        // whose codes the value has
  bool rounds = false;     // it is rounded here (else where it came from)
  int bias_input = kNone;  // of a bias: the sites of its node's input and weight
  int bias_weight = kNone;
};

QuantType WeightType(int bits) { return {.bits = bits, .is_signed = true, .narrow = bits == 8}; }

// The channels' own initial steps; a dead channel keeps the plan's.
at::Tensor InitialSteps(const at::Tensor& weight, const Site& site, const at::Tensor& otherwise) {
  const at::Tensor steps = LsqInitialStep(weight, site.axis, site.type);
  return at::where(steps > QatModule::kLeastStep, steps, otherwise).contiguous();
}

// To multiples of the product of both steps, as deploy's BiasCodes rounds; the gradient passes as
// it is.
at::Tensor RoundBias(const at::Tensor& bias, const at::Tensor& input_step,
                     const at::Tensor& weight_step) {
  const at::Tensor constant = bias.detach(), scale = weight_step.detach() * input_step.detach();
  const at::Tensor codes = at::round(constant.to(at::kDouble) / scale.to(at::kDouble));
  return codes.to(at::kFloat) * scale + (bias - constant);
}

class LsqModule final : public QatModule {
 public:
  absl::Status Prepare(const Graph& folded, const QuantPlan& plan) {
    Graph inferred = folded;
    DS_RETURN_IF_ERROR(InferShapes(inferred));
    DS_ASSIGN_OR_RETURN(qdq::Prepared prepared, qdq::Prepare(inferred, plan));
    left_in_float_ = plan.left_in_float;
    const Graph& graph = prepared.graph;
    const qdq::Placement placement = qdq::Place(graph, prepared.activations);
    DS_ASSIGN_OR_RETURN(const qdq::WeightPlan weights, qdq::PlanWeights(graph, plan, placement));
    DS_ASSIGN_OR_RETURN(inner_, GraphModule::Create(graph));
    roles_.resize(graph.values().size());
    FindEnds(graph);
    for (const ValueId input : graph.inputs()) AddValue(graph, placement, input);
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      DS_RETURN_IF_ERROR(AddNode(graph, plan, placement, static_cast<int>(n)));
    }
    for (const auto& [node, use] : weights.biases) {
      Role& bias = roles_[static_cast<size_t>(use.bias)];
      bias.bias_input = roles_[static_cast<size_t>(use.input)].site;
      bias.bias_weight = roles_[static_cast<size_t>(use.weight)].site;
    }
    ListParameters();
    inner_->set_value_transform(
        [this](ValueId id, const at::Tensor& tensor) { return Transform(id, tensor); });
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<at::Tensor>> Forward(const std::vector<at::Tensor>& inputs) override {
    if (training_) {
      const at::NoGradGuard no_grad;
      for (Site& site : sites_) site.step.clamp_min_(kLeastStep);
    }
    return inner_->Forward(inputs);
  }
  void set_training(bool training) override {
    training_ = training;
    inner_->set_training(training);
  }
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
  const std::vector<int>& forward_order() const override { return forward_order_; }
  const Graph& graph() const override { return inner_->graph(); }
  Graph ExportGraph() const override { return inner_->ExportGraph(); }

  QuantPlan Plan() const override {
    QuantPlan plan;
    plan.left_in_float = left_in_float_;
    for (const Site& site : sites_) {
      QuantParams params = {
          .type = site.type, .axis = site.axis, .group = 0, .scales = {}, .zero_points = {}};
      const float* steps = site.step.const_data_ptr<float>();
      for (int64_t i = 0; i < site.step.numel(); ++i)
        params.scales.push_back(std::max(steps[i], kLeastStep));
      params.zero_points.assign(params.scales.size(), site.zero());
      (site.is_weight ? plan.weights : plan.activations)[site.name] = std::move(params);
    }
    return plan;
  }

  void set_bits(const QatBits& bits) override {
    for (Site& site : sites_) site.type = TypeFor(site, bits);
  }

  void ChangeBits(const QatBits& bits) override {
    const at::NoGradGuard no_grad;
    for (Site& site : sites_) {
      const QuantType before = std::exchange(site.type, TypeFor(site, bits));
      if (before == site.type) continue;
      const double ratio = static_cast<double>(site.type.max()) / before.max();
      if (site.is_weight) {
        site.step.copy_(InitialSteps(weights_.at(site.name), site, site.step / ratio));
        continue;
      }
      site.step.div_(std::sqrt(ratio));
      int32_t& zero_point = *site.zero_point.data_ptr<int32_t>();
      zero_point = static_cast<int32_t>(std::lround(zero_point * ratio));
    }
  }

 private:
  static QuantType TypeFor(const Site& site, const QatBits& bits) {
    const int wanted = site.is_weight ? bits.weights : bits.activations;
    const int width = site.at_end ? std::max(bits.end, wanted) : wanted;
    if (site.is_weight) return WeightType(width);
    return {.bits = width, .is_signed = site.type.is_signed, .narrow = false};
  }

  // Names of what the first and the last layer read.
  void FindEnds(const Graph& graph) {
    const QuantSelection selection = SelectForQuantization(graph);
    if (selection.multipliers.empty()) return;
    const auto is_end = [&](int n) {
      return n == selection.multipliers.front() || n == selection.multipliers.back();
    };
    for (const WeightSite& site : selection.weights) {
      if (is_end(site.node)) ends_.insert(graph.value(site.weight).name);
    }
    for (const ActivationSite& site : selection.activations) {
      if (std::any_of(site.readers.begin(), site.readers.end(), is_end))
        ends_.insert(graph.value(site.value).name);
    }
  }

  int AddSite(Site site) {
    site.at_end = ends_.contains(site.name);
    site.step.set_requires_grad(true);
    sites_.push_back(std::move(site));
    return static_cast<int>(sites_.size()) - 1;
  }

  void AddValue(const Graph& graph, const qdq::Placement& placement, ValueId id) {
    if (!placement.Quantised(id)) return;
    const QuantParams& params = *placement.values[static_cast<size_t>(id)];
    Site site;
    site.name = graph.value(id).name;
    site.type = params.type;
    site.step = at::full({1}, params.scales[0], at::kFloat);
    site.zero_point = at::full({1}, params.zero_points[0], at::kInt);
    roles_[static_cast<size_t>(id)] = {.site = AddSite(std::move(site)), .rounds = true};
  }

  absl::Status AddNode(const Graph& graph, const QuantPlan& plan, const qdq::Placement& placement,
                       int n) {
    const Node& node = graph.nodes()[static_cast<size_t>(n)];
    if (!plan.left_in_float.contains(node.name)) {
      for (const int slot : qdq::WeightSlots(node))
        DS_RETURN_IF_ERROR(AddWeight(graph, plan, node.inputs[static_cast<size_t>(slot)]));
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

  absl::Status AddWeight(const Graph& graph, const QuantPlan& plan, ValueId id) {
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
    const auto found =
        std::find_if(inner_->parameters().begin(), inner_->parameters().end(),
                     [&](const NamedTensor& parameter) { return parameter.name == name; });
    if (found == inner_->parameters().end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("weight \"", name,
                       "\" is not trainable: export the model with its weights as initialisers"));
    }
    Site site;
    site.name = name;
    site.is_weight = true;
    site.type = WeightType(params.type.bits);
    site.axis = params.axis;
    weights_[name] = found->tensor;
    site.step = InitialSteps(found->tensor, site, at::tensor(params.scales, at::kFloat));
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
    for (const Site& site : sites_) {
      parameters_.push_back({site.name + ".step", site.step, "LearnedStep", 1});
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
      return RoundBias(tensor, sites_[static_cast<size_t>(role.bias_input)].step,
                       sites_[static_cast<size_t>(role.bias_weight)].step);
    }
    if (!role.rounds) return {};
    const Site& site = sites_[static_cast<size_t>(role.site)];
    const int64_t shared = site.is_weight ? tensor.numel() / site.step.numel()
                                          : tensor.numel() / std::max<int64_t>(1, tensor.size(0));
    return LsqFakeQuantize(tensor, site.step,
                           {.type = site.type,
                            .axis = site.axis,
                            .zero_point = site.zero(),
                            .gradient_scale = LsqGradientScale(shared, site.type)});
  }

  std::unique_ptr<GraphModule> inner_;
  std::map<std::string, std::string> left_in_float_;
  std::set<std::string> ends_;
  std::vector<Site> sites_;
  std::vector<Role> roles_;                    // by ValueId
  std::map<std::string, at::Tensor> weights_;  // masters of the quantised ones
  std::vector<NamedTensor> parameters_, buffers_;
  std::vector<int> forward_order_;
  ValueTransform next_;
  bool training_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<QatModule>> QatModule::Create(const Graph& folded,
                                                             const QuantPlan& plan) {
  auto module = std::make_unique<LsqModule>();
  DS_RETURN_IF_ERROR(module->Prepare(folded, plan));
  return module;
}

}  // namespace ds
