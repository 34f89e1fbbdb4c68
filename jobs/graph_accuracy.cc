#include "jobs/graph_accuracy.h"

#include <memory>

#include "base/status.h"
#include "executor/graph_module.h"
#include "trainer/optim/loss.h"

namespace ds {

absl::StatusOr<double> GraphAccuracy(const Graph& graph, DataLoader& loader,
                                     const BatchRange& range) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::Create({}));
  DS_ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluate(*module, loss, loader, range));
  return evaluation.accuracy;
}

}  // namespace ds
