#include "trainer/qat/live_norms.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace ds {
namespace {

bool HasBias(const Node& conv) { return conv.inputs.size() > 2 && conv.inputs[2] != kNoValue; }

const Node& NodeAt(const Graph& graph, int index) {
  return graph.nodes()[static_cast<size_t>(index)];
}

// What the module computes with: a parameter, a running statistic, or a constant.
at::Tensor TensorOf(const GraphModule& module, ValueId id) {
  const std::string& name = module.graph().value(id).name;
  for (const auto* list : {&module.parameters(), &module.buffers()}) {
    const auto found = std::find_if(list->begin(), list->end(),
                                    [&](const NamedTensor& tensor) { return tensor.name == name; });
    if (found != list->end()) return found->tensor;
  }
  return ToTorch(*module.graph().Constant(id)).to(at::kFloat).clone();
}

}  // namespace

absl::StatusOr<std::vector<NormPair>> FindLiveNorms(const Graph& live, const Graph& folded) {
  absl::flat_hash_set<std::string> kept;
  for (const Node& node : folded.nodes()) kept.insert(node.name);
  std::map<ValueId, int> convs;  // by result
  std::map<ValueId, int> readers;
  for (size_t n = 0; n < live.nodes().size(); ++n) {
    const Node& node = live.nodes()[n];
    if (node.op == "Conv") convs[node.outputs[0]] = static_cast<int>(n);
    for (const ValueId id : node.inputs) ++readers[id];
  }
  std::vector<NormPair> pairs;
  for (size_t n = 0; n < live.nodes().size(); ++n) {
    const Node& node = live.nodes()[n];
    if (node.op != "BatchNormalization" || kept.contains(node.name)) continue;
    const auto conv = convs.find(node.inputs[0]);
    if (conv == convs.end()) continue;
    const ValueId weight = NodeAt(live, conv->second).inputs[1];
    if (readers[weight] > 1) {
      return absl::UnimplementedError(absl::StrCat(
          "weight \"", live.value(weight).name, "\" is shared by ", readers[weight],
          " nodes and followed by the batch norm \"", node.name,
          "\"; training with the rounding wants one weight for each: export a copy for each"));
    }
    pairs.push_back({.conv = conv->second, .norm = static_cast<int>(n)});
  }
  return pairs;
}

void MakeGammasPositive(Graph& live, const std::vector<NormPair>& pairs) {
  const auto floats = [&](ValueId id) {
    return live.mutable_initializers().at(id).data.mutable_span<float>();
  };
  for (const NormPair& pair : pairs) {
    const Node &conv = NodeAt(live, pair.conv), &norm = NodeAt(live, pair.norm);
    const auto gamma = floats(norm.inputs[1]);
    const auto weight = floats(conv.inputs[1]);
    const size_t row = gamma.empty() ? 0 : weight.size() / gamma.size();
    for (size_t c = 0; c < gamma.size(); ++c) {
      if (!(gamma[c] < 0)) continue;
      const auto turn = [](float& value) { value = -value; };
      turn(gamma[c]);
      turn(floats(norm.inputs[3])[c]);
      if (HasBias(conv)) turn(floats(conv.inputs[2])[c]);
      std::for_each(&weight[c * row], &weight[c * row] + row, turn);
    }
  }
}

Counterparts::Counterparts(const Graph& folded, const Graph& live,
                           const std::vector<NormPair>& pairs) {
  for (size_t id = 0; id < folded.values().size(); ++id) {
    const ValueId same = live.FindValue(folded.values()[id].name);
    if (same != kNoValue) live_[static_cast<ValueId>(id)] = same;
  }
  std::map<std::string, const Node*> nodes;
  for (const Node& node : folded.nodes()) nodes[node.name] = &node;
  for (const NormPair& pair : pairs) {
    const Node& conv = live.nodes()[static_cast<size_t>(pair.conv)];
    const Node& made = *nodes.at(conv.name);
    live_[made.inputs[1]] = conv.inputs[1];
    live_[made.inputs[2]] = live.nodes()[static_cast<size_t>(pair.norm)].inputs[2];
  }
}

ValueId Counterparts::Of(ValueId folded) const {
  const auto found = live_.find(folded);
  return found == live_.end() ? kNoValue : found->second;
}

at::Tensor LiveNorm::Factor() const {
  const at::Tensor variances = variance.detach().to(at::kDouble);
  return (gamma.detach().to(at::kDouble) * (variances + epsilon).rsqrt()).to(at::kFloat);
}

at::Tensor LiveNorm::FoldedBias() const {
  const at::Tensor centred = bias.defined() ? bias.detach() - mean : -mean;
  return centred * Factor() + beta.detach();
}

LiveNorm NormOf(const GraphModule& module, const NormPair& pair) {
  const Graph& graph = module.graph();
  const Node &conv = NodeAt(graph, pair.conv), &norm = NodeAt(graph, pair.norm);
  LiveNorm live;
  live.gamma = TensorOf(module, norm.inputs[1]);
  live.beta = TensorOf(module, norm.inputs[2]);
  live.mean = TensorOf(module, norm.inputs[3]);
  live.variance = TensorOf(module, norm.inputs[4]);
  if (HasBias(conv)) live.bias = TensorOf(module, conv.inputs[2]);
  live.epsilon = static_cast<double>(norm.GetFloat("epsilon", 1e-5f));
  return live;
}

}  // namespace ds
