// Stores a network's convolutions in 4 bits and leaves all else in float: the edge side alone, with
// neither LibTorch nor calibration data.
//
//   quantize_weights MODEL.onnx OUTPUT.onnx
#include <cstdio>
#include <iostream>
#include <string>

#include "base/status.h"
#include "deploy/onnx_exporter.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "quant/weight_params.h"

namespace {

// A scale an output channel, each where it does the channel's weights the least harm.
absl::StatusOr<ds::QuantPlan> PlanOfConvolutions(const ds::Graph& graph) {
  ds::QuantPlan plan;
  for (const ds::Node& node : graph.nodes()) {
    const ds::Tensor* weight = node.op == "Conv" ? graph.Constant(node.inputs[1]) : nullptr;
    if (weight == nullptr) continue;
    DS_ASSIGN_OR_RETURN(plan.weights[graph.value(node.inputs[1]).name],
                        ds::ChooseWeightParams(weight->span<float>(), weight->shape(),
                                               {.bits = 4, .method = ds::WeightRangeMethod::kMse}));
  }
  return plan;
}

absl::Status Quantize(const std::string& model, const std::string& output) {
  DS_ASSIGN_OR_RETURN(ds::Graph graph, ds::ImportOnnx(model));
  DS_RETURN_IF_ERROR(ds::FoldBatchNorms(graph));
  DS_ASSIGN_OR_RETURN(ds::QuantPlan plan, PlanOfConvolutions(graph));
  DS_ASSIGN_OR_RETURN(ds::OnnxExportResult result, ds::OnnxExporter().Export(graph, plan, output));
  std::printf("%zu convolutions in 4 bits, %lld bytes\n", plan.weights.size(),
              static_cast<long long>(result.bytes));
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: quantize_weights MODEL.onnx OUTPUT.onnx\n";
    return 2;
  }
  const absl::Status status = Quantize(argv[1], argv[2]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
