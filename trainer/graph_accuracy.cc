#include "trainer/graph_accuracy.h"

#include <memory>
#include <optional>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "trainer/executor/graph_module.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/optim/loss.h"

namespace ds {

absl::StatusOr<double> GraphAccuracy(const Graph& graph, DataLoader& loader) {
  const at::NoGradGuard no_grad;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module, GraphModule::Create(graph));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::Create({}));
  int64_t hits = 0, count = 0;
  DS_RETURN_IF_ERROR(loader.StartEpoch(0));
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
    if (!batch.has_value()) break;
    if (batch->size() == 0) continue;
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs,
                        module->Forward({InputsToTorch(*batch)}));
    DS_ASSIGN_OR_RETURN(const LossResult result, loss(outputs[0], LabelsToTorch(*batch)));
    hits += result.correct.item<int64_t>();
    count += result.count;
  }
  if (count == 0) return absl::InvalidArgumentError("the test set is empty: nothing to evaluate");
  return static_cast<double>(hits) / static_cast<double>(count);
}

}  // namespace ds
