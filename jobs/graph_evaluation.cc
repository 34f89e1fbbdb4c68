#include "jobs/graph_evaluation.h"

#include <memory>

#include "base/status.h"
#include "executor/graph_module.h"
#include "trainer/optim/loss.h"

namespace ds {

absl::StatusOr<Evaluation> EvaluateGraph(const Graph& graph, const LossOptions& loss,
                                         DataLoader& loader, const BatchRange& range) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Loss measured, Loss::ForModel(loss, module->graph()));
  return Evaluate(*module, measured, loader, range);
}

}  // namespace ds
