#include "quant/torch/reconstruction/gptq.h"

#include <map>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "quant/torch/joined_batch.h"
#include "quant/torch/reconstruction/layer_columns.h"
#include "quant/torch/reconstruction/nearest_plane.h"
#include "quant/torch/reconstruction/shrunk_covariance.h"

namespace ds {
namespace {

// Of a layer's columns that its covariance is made of, in all: 128 MiB, and 8192 positions.
constexpr int64_t kMostElements = int64_t{1} << 25;
constexpr int64_t kMostPositions = 8192;

struct Layer {
  WeightSite site;
  const QuantParams* params = nullptr;
};

class Rounder {
 public:
  Rounder(Graph& graph, int64_t samples) : graph_(graph), samples_(samples) {}

  absl::Status Round(const Layer& layer, const at::Tensor& input) {
    const Node& node = graph_.nodes()[static_cast<size_t>(layer.site.node)];
    Tensor& weight = graph_.mutable_initializers().at(layer.site.weight).data;
    const bool by_rows = node.op == "Conv" || node.GetInt("transB", 0) != 0;
    const at::Tensor exact = ToTorch(weight);
    const at::Tensor rows = by_rows ? exact.flatten(1) : exact.t();
    const int64_t inputs = rows.size(1);
    if (inputs > kMostGptqInputs) return absl::OkStatus();
    const at::Tensor columns =
        LayerColumns(node, weight.shape(), input, samples_,
                     std::min(kMostElements, kMostPositions * inputs * node.GetInt("group", 1)));
    if (!columns.defined()) return absl::OkStatus();
    const at::Tensor covariance = ShrunkCovariance(columns);
    const at::Tensor scales =
        at::tensor(at::ArrayRef<float>(layer.params->scales), at::kFloat).unsqueeze(1);
    const at::Tensor steps = (rows / scales).contiguous();
    at::Tensor codes = at::empty_like(steps);
    const auto low = static_cast<float>(layer.params->type.min());
    const auto high = static_cast<float>(layer.params->type.max());
    const int64_t groups = covariance.size(0), outputs = steps.size(0) / groups;
    UnitReconstruction result = {.first = node.name, .last = node.name, .weights = rows.numel()};
    const at::Tensor nearest = steps.round().clamp(low, high);
    for (int64_t g = 0; g < groups; ++g) {
      const auto part = [&](const at::Tensor& all) { return all.narrow(0, g * outputs, outputs); };
      part(codes).copy_(NearestPlane(part(steps), covariance[g], low, high));
      const auto error = [&](const at::Tensor& rounded) {
        const at::Tensor off =
            (part(rounded) - part(steps)) * (scales.numel() > 1 ? part(scales) : scales);
        return off.matmul(covariance[g]).mul_(off).sum(at::kDouble).item<double>() /
               static_cast<double>(steps.size(0));
      };
      result.nearest_error += error(nearest);
      result.error += error(codes);
    }
    if (result.error < result.nearest_error) {
      result.flipped = codes.ne(nearest).sum().item<int64_t>();
      const at::Tensor rounded = codes * scales;
      DS_ASSIGN_OR_RETURN(
          weight, FromTorch((by_rows ? rounded.reshape(exact.sizes()) : rounded.t()).contiguous()));
    } else {
      result.error = result.nearest_error;
    }
    results_[layer.site.node] = std::move(result);
    return absl::OkStatus();
  }

  std::vector<UnitReconstruction> Results() {
    std::vector<UnitReconstruction> results;
    for (auto& [node, result] : results_) results.push_back(std::move(result));
    return results;
  }

 private:
  Graph& graph_;
  const int64_t samples_;
  std::map<int, UnitReconstruction> results_;  // by node
};

// By what they multiply.
std::multimap<ValueId, Layer> LayersByInput(const Graph& graph, const QuantSelection& selection,
                                            const QuantPlan& plan) {
  std::map<ValueId, int> reads;
  for (const Node& node : graph.nodes()) {
    for (const ValueId id : node.inputs) ++reads[id];
  }
  std::multimap<ValueId, Layer> layers;
  for (const WeightSite& site : selection.weights) {
    const Node& node = graph.nodes()[static_cast<size_t>(site.node)];
    const auto params = plan.weights.find(graph.value(site.weight).name);
    if (params == plan.weights.end() || params->second.group > 0 || reads[site.weight] != 1 ||
        node.inputs[1] != site.weight)
      continue;
    const bool own = params->second.axis == site.channel_axis;
    if (own || params->second.axis == QuantParams::kWholeTensor)
      layers.emplace(node.inputs[0], Layer{site, &params->second});
  }
  return layers;
}

}  // namespace

absl::StatusOr<std::vector<UnitReconstruction>> RoundByGptq(Graph& graph,
                                                            const QuantSelection& selection,
                                                            const QuantPlan& plan,
                                                            const InputBatches& batches) {
  const at::NoGradGuard no_grad;
  const std::vector<at::Tensor> inputs = JoinedBatch(graph, batches);
  const int64_t samples = inputs.empty() || inputs[0].dim() == 0 ? 0 : inputs[0].size(0);
  if (samples < 2) return std::vector<UnitReconstruction>();
  const std::multimap<ValueId, Layer> layers = LayersByInput(graph, selection, plan);
  GraphModuleOptions options;
  for (const auto& [value, layer] : layers) options.visible.insert(value);
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(graph, options));
  Rounder rounder(graph, samples);
  absl::Status status;
  module->set_value_observer([&](ValueId value, const at::Tensor& tensor) {
    const auto [begin, end] = layers.equal_range(value);
    for (auto layer = begin; layer != end && status.ok(); ++layer)
      status = rounder.Round(layer->second, tensor);
  });
  DS_RETURN_IF_ERROR(module->Forward(inputs).status());
  DS_RETURN_IF_ERROR(status);
  return rounder.Results();
}

}  // namespace ds
