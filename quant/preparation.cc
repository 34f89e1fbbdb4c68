#include "quant/preparation.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/derived.h"
#include "graph/passes/matrices_to_gemms.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds {
namespace {

constexpr int64_t kLeastElements = 1 << 15;
constexpr double kLeastShare = 0.05;  // of all weights

}  // namespace

absl::Status MergeLayers(Graph& graph, bool gemms) {
  DS_RETURN_IF_ERROR(FoldChannelAffine(graph));
  if (gemms) DS_RETURN_IF_ERROR(MatricesToGemms(graph));
  DS_RETURN_IF_ERROR(NormsToConvolutions(graph));
  DS_RETURN_IF_ERROR(MergeParallelConvs(graph));
  DS_RETURN_IF_ERROR(FoldAffineForward(graph));
  return InferShapes(graph);
}

void WeightsByInputs(Graph& graph) {
  std::map<ValueId, ValueId> turned;
  for (Node& node : graph.mutable_nodes()) {
    const Tensor* weight = node.op == "Gemm" ? graph.Constant(node.inputs[1]) : nullptr;
    if (weight == nullptr || node.GetInt("transB", 0) == 0) continue;
    if (weight->dtype() != DType::kFloat32) continue;
    const auto [entry, added] = turned.try_emplace(node.inputs[1], kNoValue);
    if (added) {
      entry->second = graph.AddInitializer(
          absl::StrCat(graph.value(node.inputs[1]).name, ".by_inputs"), TransposedMatrix(*weight),
          /*trainable=*/true);
    }
    node.inputs[1] = entry->second;
    node.attributes["transB"] = int64_t{0};
  }
}

void KeepMatrices(const Graph& graph, QuantSelection& selection) {
  QuantSelection kept;
  for (const WeightSite& site : selection.weights) {
    const Node& node = graph.nodes()[static_cast<size_t>(site.node)];
    if (node.op == "Conv" || graph.Constant(site.weight)->rank() != 2) continue;
    kept.weights.push_back(site);
    kept.multipliers.push_back(site.node);
  }
  selection = std::move(kept);
}

ValueId LargeLastMatrix(const Graph& graph, const QuantSelection& selection) {
  if (selection.weights.empty()) return kNoValue;
  const WeightSite& last = selection.weights.back();
  const Tensor& weight = *graph.Constant(last.weight);
  if (graph.nodes()[static_cast<size_t>(last.node)].op == "Conv" || weight.rank() != 2 ||
      last.node != selection.multipliers.back()) {
    return kNoValue;
  }
  int64_t all = 0;
  for (const WeightSite& site : selection.weights) {
    all += graph.Constant(site.weight)->num_elements();
  }
  const int64_t elements = weight.num_elements();
  const bool large = elements >= kLeastElements &&
                     static_cast<double>(elements) >= kLeastShare * static_cast<double>(all);
  return large ? last.weight : kNoValue;
}

std::string OtherWeights(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") continue;
    const Tensor* weight = graph.Constant(node.inputs[1]);
    if (weight == nullptr || weight->dtype() == DType::kFloat32) continue;
    return absl::StrCat("; the weight \"", graph.value(node.inputs[1]).name, "\" is ",
                        std::string(Name(weight->dtype())), ": export the model in float32");
  }
  return "";
}

}  // namespace ds
