#include "deploy/engine/compile/prepare.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/decompose/decompose.h"
#include "deploy/engine/compile/fold_empty.h"
#include "deploy/engine/compile/lone_norms.h"
#include "graph/passes/matrices_to_gemms.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"

namespace ds::engine::compile {
namespace {

absl::Status FixBatch(Graph& graph, int64_t batch) {
  for (const ValueId input : graph.inputs()) {
    Value& value = graph.mutable_value(input);
    if (!value.shape) continue;
    for (size_t axis = 0; axis < value.shape->size(); ++axis) {
      int64_t& extent = (*value.shape)[axis];
      if (extent != kDynamicDim) continue;
      if (axis > 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input '", value.name, "' has shape ", ShapeString(*value.shape),
            "; the engine plans its memory ahead: give its extents with --input-shape ", value.name,
            "=..."));
      }
      extent = batch;
    }
  }
  return InferShapes(graph);
}

// Pads of one layer may need the extents that another layer's pads leave.
absl::Status FoldAll(Graph& graph) {
  size_t before = 0;
  do {
    before = graph.nodes().size();
    DS_RETURN_IF_ERROR(FoldConstants(graph));
  } while (graph.nodes().size() < before);
  return absl::OkStatus();
}

bool HasCodes(const Graph& graph) {
  return std::any_of(graph.nodes().begin(), graph.nodes().end(),
                     [](const Node& node) { return node.op == "DequantizeLinear"; });
}

absl::Status CheckExtents(const Graph& graph) {
  for (const Node& node : graph.nodes()) {
    for (const ValueId id : node.outputs) {
      if (id == kNoValue) continue;
      const Value& value = graph.value(id);
      const bool open = !value.shape || std::any_of(value.shape->begin(), value.shape->end(),
                                                    [](int64_t e) { return e == kDynamicDim; });
      if (open && node.op == "NonMaxSuppression") {
        return absl::UnimplementedError(
            absl::StrCat("node '", node.name,
                         "' (NonMaxSuppression) keeps as many boxes as the picture has, and "
                         "the engine plans its memory ahead: export the detector without it, so "
                         "that it gives all "
                         "boxes and scores; ds_run --task detect suppresses them itself"));
      }
      if (open) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the shape of '", value.name, "', which node '", node.name, "' (", node.op,
            ") makes, depends on the data or on an extent that is not known; the engine plans its "
            "memory ahead: fix the inputs' shapes with --input-shape"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Graph> Prepare(Graph graph, int64_t batch, const PassSwitches& passes,
                              std::map<std::string, std::string>& stays) {
  if (batch < 1 || batch > 65536) {
    return absl::InvalidArgumentError(
        absl::StrCat("the batch is ", batch, "; it must be 1 to 65536"));
  }
  DS_RETURN_IF_ERROR(FixBatch(graph, batch));
  DS_RETURN_IF_ERROR(FoldAll(graph));
  DS_RETURN_IF_ERROR(EliminateIdentities(graph));
  // Weights of codes follow from initialisers, too, and must stay codes.
  const bool codes = HasCodes(graph);
  DS_RETURN_IF_ERROR(codes ? FoldLayouts(graph) : FoldWeights(graph));
  DS_RETURN_IF_ERROR(FuseActivations(graph));
  if (passes.fold_batch_norms) {
    DS_RETURN_IF_ERROR(FoldBatchNorms(graph));
    if (!codes) {
      DS_RETURN_IF_ERROR(MatricesToGemms(graph));
      DS_RETURN_IF_ERROR(FoldChannelAffine(graph));
    }
  }
  DS_RETURN_IF_ERROR(FoldEmpty(graph));
  stays = WhyNormsStay(graph);
  DS_RETURN_IF_ERROR(NormsToConvolutions(graph));
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  DS_RETURN_IF_ERROR(InferShapes(graph));
  DS_RETURN_IF_ERROR(Decompose(graph));
  DS_RETURN_IF_ERROR(FoldAll(graph));
  DS_RETURN_IF_ERROR(EliminateIdentities(graph));
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  DS_RETURN_IF_ERROR(InferShapes(graph));
  DS_RETURN_IF_ERROR(CheckExtents(graph));
  return graph;
}

}  // namespace ds::engine::compile
