#include "deploy/insert_qdq.h"

#include <utility>

#include "base/status.h"
#include "deploy/qdq/check.h"
#include "deploy/qdq/fate.h"
#include "deploy/qdq/layouts.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/prepare.h"
#include "deploy/qdq/weights.h"
#include "deploy/qdq/writer.h"
#include "deploy/tensorrt/lint.h"
#include "deploy/tensorrt/placement.h"
#include "graph/schema/schema.h"

namespace ds {
namespace qdq {
namespace {

absl::StatusOr<Graph> InsertForOnnxRuntime(Prepared prepared, const QuantPlan& plan,
                                           const QdqOptions& options, QdqReport* report) {
  const Placement placement = Place(prepared.graph, prepared.activations);
  DS_ASSIGN_OR_RETURN(const WeightPlan weights, PlanWeights(prepared.graph, plan, placement));
  if (report != nullptr) {
    report->nodes = FatesOf(prepared.graph, plan, placement, weights, options);
    report->enlarged = weights.enlarged;
  }
  return WriteQdq(std::move(prepared.graph), plan, placement, weights, options);
}

absl::StatusOr<Graph> InsertForTensorRT(Prepared prepared, const QuantPlan& plan,
                                        const QdqOptions& options, QdqReport* report) {
  DS_RETURN_IF_ERROR(CheckPlanForTensorRT(prepared.graph, plan));
  Placement placement = Place(prepared.graph, prepared.activations);
  KeepWhatTensorRTReads(prepared.graph, plan, placement);
  WeightPlan weights;  // biases stay as they are
  for (const auto& [name, params] : plan.weights) {
    weights.weights[prepared.graph.FindValue(name)] = params;
  }
  DS_ASSIGN_OR_RETURN(Graph graph,
                      WriteQdq(std::move(prepared.graph), plan, placement, weights, options));
  if (report != nullptr) {
    *report = {};
    for (TrtVerdict& verdict : LintForTensorRT(graph).nodes) {
      const auto left = plan.left_in_float.find(verdict.node);
      if (left != plan.left_in_float.end() && !left->second.empty()) verdict.reason = left->second;
      const bool quantised = verdict.fate == TrtFate::kInt8 || verdict.fate == TrtFate::kInt4;
      report->nodes.push_back(
          {verdict.node, verdict.op, quantised, quantised ? "" : std::move(verdict.reason)});
    }
  }
  return graph;
}

}  // namespace
}  // namespace qdq

absl::StatusOr<Graph> InsertQdq(const Graph& folded, const QuantPlan& plan,
                                const QdqOptions& options, QdqReport* report) {
  DS_RETURN_IF_ERROR(folded.Validate());
  Graph inferred = folded;
  DS_RETURN_IF_ERROR(InferShapes(inferred));
  DS_RETURN_IF_ERROR(qdq::CheckPlan(inferred, plan));
  DS_ASSIGN_OR_RETURN(qdq::Prepared prepared, qdq::Prepare(inferred, plan));
  QuantPlan separated = plan;
  DS_RETURN_IF_ERROR(qdq::SeparateLayouts(prepared.graph, separated));
  if (options.profile == QdqProfile::kTensorRT) {
    return qdq::InsertForTensorRT(std::move(prepared), separated, options, report);
  }
  return qdq::InsertForOnnxRuntime(std::move(prepared), separated, options, report);
}

}  // namespace ds
