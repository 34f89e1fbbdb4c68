#include "quant/torch/ranges/share_ranges.h"

#include <set>
#include <utility>
#include <vector>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "quant/affine.h"

namespace ds {
namespace {

std::set<ValueId> SharesIn(const Graph& graph, const QuantSelection& selection) {
  std::set<ValueId> softmax, sites;
  for (const Node& node : graph.nodes()) {
    if (node.op == "Softmax") softmax.insert(node.outputs[0]);
  }
  for (const ActivationSite& site : selection.activations) {
    if (softmax.contains(site.value)) sites.insert(site.value);
  }
  return sites;
}

}  // namespace

absl::StatusOr<std::map<std::string, QuantParams>> WidenedShares(const Graph& graph,
                                                                 const QuantSelection& selection,
                                                                 const QuantPlan& plan,
                                                                 const InputBatches& batches) {
  const at::NoGradGuard no_grad;
  const std::set<ValueId> shares = SharesIn(graph, selection);
  if (shares.empty()) return std::map<std::string, QuantParams>();
  DS_ASSIGN_OR_RETURN(RoundedNetwork rounded, WithRoundedWeights(graph, plan));
  std::map<ValueId, QuantParams>& activations = rounded.activations;
  std::map<std::string, QuantParams> widened;
  absl::Status status;
  rounded.module->set_value_transform([&](ValueId value, const at::Tensor& tensor) {
    const auto found = activations.find(value);
    if (found == activations.end()) return at::Tensor();
    if (shares.contains(value) && tensor.numel() > 0) {
      const QuantParams& params = found->second;
      const float most = tensor.max().item<float>();
      const int codes = params.type.max() - params.zero_points[0];
      if (most > params.scales[0] * (static_cast<float>(codes) + 0.5f)) {
        absl::StatusOr<QuantParams> wider = ParamsForRange(params.type, 0, most);
        status.Update(wider.status());
        if (wider.ok()) widened[graph.value(value).name] = found->second = *std::move(wider);
      }
    }
    return Rounded(tensor, found->second);
  });
  for (const std::vector<at::Tensor>& batch : batches)
    DS_RETURN_IF_ERROR(rounded.module->Forward(batch).status());
  DS_RETURN_IF_ERROR(status);
  return widened;
}

}  // namespace ds
