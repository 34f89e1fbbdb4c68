#include "prune/channel_gates.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/initialization.h"
#include "graph/passes/uses.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

bool IsClamp(const Node& node) { return node.op == "Relu" || node.op == "Clip"; }

// The node that makes `id`, or nullptr.
const Node* Maker(const Graph& graph, const Uses& uses, ValueId id) {
  const int index = uses.ProducerIndex(id);
  return index < 0 ? nullptr : &graph.nodes()[static_cast<size_t>(index)];
}

// The convolution whose result, normed or not, `clamp` takes; or nullptr.
const Node* ConvBehind(const Uses& uses, const Node& clamp) {
  ValueId id = clamp.inputs[0];
  if (const Node* norm = uses.Producer(id, "BatchNormalization")) id = norm->inputs[0];
  return uses.Producer(id, "Conv");
}

// The saliency's convolution if `s` is one of `x`, else nullptr.
const Node* SaliencyConv(const Uses& uses, ValueId s, ValueId x) {
  const Node* relu = uses.Producer(s, "Relu");
  const Node* conv = relu == nullptr ? nullptr : uses.Producer(relu->inputs[0], "Conv");
  const Node* mean =
      conv == nullptr ? nullptr : uses.Producer(conv->inputs[0], "GlobalAveragePool");
  if (mean == nullptr) return nullptr;
  ValueId pooled = mean->inputs[0];
  if (const Node* magnitude = uses.Producer(pooled, "Abs")) {
    if (pooled != x) pooled = magnitude->inputs[0];
  }
  return pooled == x ? conv : nullptr;
}

// True where no element of `id` can be below 0, as far as the nodes before it tell.
bool IsNonNegative(const Graph& graph, const Uses& uses, ValueId id) {
  const Node* node = Maker(graph, uses, id);
  if (node == nullptr) return false;
  if (node->op == "Relu" || node->op == "Sigmoid" || node->op == "Abs") return true;
  if (node->op == "Clip") {
    const Tensor* low = node->inputs.size() > 1 ? graph.Constant(node->inputs[1]) : nullptr;
    return low != nullptr && low->dtype() == DType::kFloat32 && low->num_elements() == 1 &&
           low->span<float>()[0] >= 0;
  }
  if (node->op == "Mul" || node->op == "Add") {
    return IsNonNegative(graph, uses, node->inputs[0]) &&
           IsNonNegative(graph, uses, node->inputs[1]);
  }
  // A maximum of padding alone would be -inf, and no shape allows that.
  const bool passes = node->op == "MaxPool" || node->op == "AveragePool" || node->op == "Dropout" ||
                      node->op == "Identity";
  return passes && IsNonNegative(graph, uses, node->inputs[0]);
}

// Operators through which a channel of zeros stays one.
bool KeepsZeros(const Node& node) {
  return node.op == "MaxPool" || node.op == "AveragePool" || node.op == "Dropout" ||
         node.op == "Identity";
}

// Who reads which value, and whether that leaves room for a gate.
class Candidates {
 public:
  explicit Candidates(const Graph& graph)
      : graph_(graph), uses_(graph), readers_(graph.values().size()) {
    for (size_t n = 0; n < graph.nodes().size(); ++n) {
      for (const ValueId id : graph.nodes()[n].inputs) {
        if (id != kNoValue) readers_[static_cast<size_t>(id)].push_back(static_cast<int>(n));
      }
    }
  }

  // Why `conv` gets no gate; empty if it can have one, whose place is then `clamp`'s result.
  std::string WhyNot(const Node& conv, const Node** clamp) const {
    const Tensor* weight = graph_.Constant(conv.inputs[1]);
    if (weight == nullptr || weight->dtype() != DType::kFloat32) return "its weight is no constant";
    if (conv.GetInt("group", 1) != 1) return "it has several groups";
    const Node* next = OnlyReader(conv.outputs[0]);
    if (next != nullptr && next->op == "BatchNormalization") next = OnlyReader(next->outputs[0]);
    if (next == nullptr || !IsClamp(*next)) return "no Relu alone follows it";
    *clamp = next;
    return WhyOthersRead(next->outputs[0]);
  }

  const Uses& uses() const { return uses_; }

 private:
  const std::vector<int>& Readers(ValueId id) const { return readers_[static_cast<size_t>(id)]; }

  bool IsOutput(ValueId id) const {
    return std::find(graph_.outputs().begin(), graph_.outputs().end(), id) !=
           graph_.outputs().end();
  }

  const Node* OnlyReader(ValueId id) const {
    if (Readers(id).size() != 1 || IsOutput(id)) return nullptr;
    const Node& reader = graph_.nodes()[static_cast<size_t>(Readers(id)[0])];
    return reader.inputs[0] == id ? &reader : nullptr;
  }

  // Empty if `id` goes into convolutions and nowhere else.
  std::string WhyOthersRead(ValueId id) const {
    if (IsOutput(id) || Readers(id).empty()) return "its channels are a result of the network";
    for (const int n : Readers(id)) {
      const Node& reader = graph_.nodes()[static_cast<size_t>(n)];
      const bool first =
          reader.inputs[0] == id && std::count(reader.inputs.begin(), reader.inputs.end(), id) == 1;
      if (first && KeepsZeros(reader)) {
        std::string why = WhyOthersRead(reader.outputs[0]);
        if (!why.empty()) return why;
      } else if (!first || reader.op != "Conv") {
        return absl::StrCat("node '", reader.name, "' (", reader.op, ") reads its channels too");
      }
    }
    return "";
  }

  const Graph& graph_;
  const Uses uses_;
  std::vector<std::vector<int>> readers_;
};

absl::Status CheckOptions(const Graph& graph, const ChannelGateOptions& options) {
  if (!(options.weight_scale >= 0) || !std::isfinite(options.weight_scale)) {
    return absl::InvalidArgumentError(absl::StrCat("channel gates: weight_scale is ",
                                                   options.weight_scale, "; it must be 0 or more"));
  }
  if (!(options.bias > 0) || !std::isfinite(options.bias)) {
    return absl::InvalidArgumentError(
        absl::StrCat("channel gates: bias is ", options.bias,
                     "; it must be above 0, or every channel would be closed from the start"));
  }
  for (const std::string& name : options.keep) {
    const bool known =
        std::any_of(graph.nodes().begin(), graph.nodes().end(),
                    [&name](const Node& node) { return node.op == "Conv" && node.name == name; });
    if (!known) {
      return absl::InvalidArgumentError(absl::StrCat("channel gates: keep names \"", name,
                                                     "\", which is no convolution of the model"));
    }
  }
  return absl::OkStatus();
}

// Where a gate goes, by names and values: nodes move while gates are added.
struct Place {
  std::string conv;
  ValueId input;   // of the convolution
  ValueId result;  // of the clamp
  int64_t inputs, channels;
  bool non_negative;
};

void AddGate(Graph& graph, const Place& place, const ChannelGateOptions& options) {
  const std::string stem = absl::StrCat(place.conv, ".gate");
  const auto add = [&graph](const char* op, const std::string& name, std::vector<ValueId> inputs) {
    const ValueId result = graph.AddValue(name);
    graph.AddNode({.name = name, .op = op, .inputs = std::move(inputs), .outputs = {result}});
    return result;
  };
  const double deviation =
      options.weight_scale * std::sqrt(2.0 / static_cast<double>(place.inputs));
  const std::string weight_name = stem + ".weight";
  const ValueId weight = graph.AddInitializer(
      weight_name,
      NormalWeights({place.channels, place.inputs, 1, 1}, deviation, options.seed, weight_name),
      /*trainable=*/true);
  const ValueId bias = graph.AddInitializer(
      stem + ".bias", FilledWeights({place.channels}, static_cast<float>(options.bias)),
      /*trainable=*/true);
  ValueId pooled = place.input;
  if (!place.non_negative) pooled = add("Abs", stem + ".magnitude", {pooled});
  pooled = add("GlobalAveragePool", stem + ".mean", {pooled});
  const ValueId raw = add("Conv", stem + ".conv", {pooled, weight, bias});
  const ValueId saliency = add("Relu", stem + ".saliency", {raw});
  const ValueId gated = graph.AddValue(stem + ".gated");
  graph.ReplaceUses(place.result, gated);
  graph.AddNode({.name = stem + ".gated",
                 .op = "Mul",
                 .inputs = {place.result, saliency},
                 .outputs = {gated}});
}

}  // namespace

std::vector<ChannelGate> FindChannelGates(const Graph& graph) {
  const Uses uses(graph);
  std::vector<ChannelGate> gates;
  for (const Node& node : graph.nodes()) {
    if (node.op != "Mul") continue;
    for (const size_t slot : {0, 1}) {
      const Node* clamp = Maker(graph, uses, node.inputs[slot]);
      if (clamp == nullptr || !IsClamp(*clamp)) continue;
      const Node* conv = ConvBehind(uses, *clamp);
      const ValueId saliency = node.inputs[1 - slot];
      const Node* own = conv == nullptr ? nullptr : SaliencyConv(uses, saliency, conv->inputs[0]);
      const Tensor* weight = own == nullptr ? nullptr : graph.Constant(own->inputs[1]);
      if (weight == nullptr || weight->rank() != 4) continue;
      gates.push_back({conv->name, own->name, saliency, node.outputs[0], weight->dim(0)});
      break;
    }
  }
  return gates;
}

absl::StatusOr<std::vector<ChannelGate>> AddChannelGates(Graph& graph,
                                                         const ChannelGateOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(graph, options));
  const std::set<std::string> keep(options.keep.begin(), options.keep.end());
  const Candidates candidates(graph);
  std::vector<Place> places;
  std::string why_none;
  for (const Node& node : graph.nodes()) {
    if (node.op != "Conv") continue;
    const Node* clamp = nullptr;
    const std::string why =
        keep.contains(node.name) ? "it is to be kept" : candidates.WhyNot(node, &clamp);
    if (!why.empty()) {
      absl::StrAppend(&why_none, "; '", node.name, "': ", why);
      continue;
    }
    const Tensor& weight = *graph.Constant(node.inputs[1]);
    places.push_back({node.name, node.inputs[0], clamp->outputs[0], weight.dim(1), weight.dim(0),
                      IsNonNegative(graph, candidates.uses(), node.inputs[0])});
  }
  if (places.empty()) {
    std::vector<ChannelGate> present = FindChannelGates(graph);
    if (!present.empty()) return present;
    return absl::InvalidArgumentError(absl::StrCat(
        "there is nothing to gate in the model '", graph.name,
        "': it needs a convolution with a Relu behind it that only convolutions read", why_none));
  }
  Graph gated = graph;
  for (Place& place : places) {
    // A convolution that reads what was gated before it has the gated value as its input by now.
    const int index = gated.Producer(place.result);
    const Node* conv = ConvBehind(Uses(gated), gated.nodes()[static_cast<size_t>(index)]);
    place.input = conv->inputs[0];
    AddGate(gated, place, options);
  }
  DS_RETURN_IF_ERROR(gated.SortTopologically());
  DS_RETURN_IF_ERROR(InferShapes(gated));
  DS_RETURN_IF_ERROR(gated.Validate());
  graph = std::move(gated);
  return FindChannelGates(graph);
}

absl::StatusOr<GatedCost> GatedCost::Create(const Graph& graph,
                                            const std::vector<ChannelGate>& gates) {
  GatedCost cost;
  std::map<std::string, int> gate_of_conv;
  std::set<std::string> own;
  std::map<ValueId, int> gate_of_value;
  for (size_t g = 0; g < gates.size(); ++g) {
    gate_of_conv[gates[g].conv] = static_cast<int>(g);
    gate_of_value[gates[g].gated] = static_cast<int>(g);
    own.insert(gates[g].saliency_conv);
  }
  for (const Node& node : graph.nodes()) {
    if (KeepsZeros(node) && gate_of_value.contains(node.inputs[0])) {
      gate_of_value[node.outputs[0]] = gate_of_value[node.inputs[0]];
    }
    const int64_t macs = MultiplyAccumulates(graph, node);
    if (own.contains(node.name)) {
      cost.gates_ += macs;
      continue;
    }
    cost.whole_ += macs;
    const auto in = gate_of_value.find(node.inputs.empty() ? kNoValue : node.inputs[0]);
    const auto out = gate_of_conv.find(node.name);
    Layer layer;
    if (in != gate_of_value.end()) layer.gate_in = in->second;
    if (out != gate_of_conv.end()) layer.gate_out = out->second;
    if (node.op != "Conv" || (layer.gate_in < 0 && layer.gate_out < 0)) {
      cost.fixed_ += macs;
      continue;
    }
    const Tensor* weight = graph.Constant(node.inputs[1]);
    if (macs == 0 || weight == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(
          "gated cost: the shapes at node '", node.name, "' are not known; infer them first"));
    }
    layer.groups = node.GetInt("group", 1);
    layer.outputs = weight->dim(0);
    layer.inputs = weight->dim(1) * layer.groups;
    layer.pair = macs / (layer.outputs * weight->dim(1));
    cost.layers_.push_back(layer);
  }
  return cost;
}

int64_t GatedCost::NeededBy(const Layer& layer, const OpenChannels& open) const {
  // Open channels from `first` on, so many; all of them where there is no gate.
  const auto count = [&open](int gate, int64_t first, int64_t size) {
    if (gate < 0) return size;
    const auto from = open[static_cast<size_t>(gate)].begin() + first;
    return static_cast<int64_t>(std::count(from, from + size, true));
  };
  const int64_t inputs = layer.inputs / layer.groups, outputs = layer.outputs / layer.groups;
  int64_t pairs = 0;
  for (int64_t group = 0; group < layer.groups; ++group) {
    pairs += count(layer.gate_in, group * inputs, inputs) *
             count(layer.gate_out, group * outputs, outputs);
  }
  return pairs * layer.pair;
}

int64_t GatedCost::Needed(const OpenChannels& open) const {
  int64_t needed = fixed_ + gates_;
  for (const Layer& layer : layers_) needed += NeededBy(layer, open);
  return needed;
}

}  // namespace ds
