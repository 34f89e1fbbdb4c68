#include "trainer/evaluate.h"

#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "ATen/core/grad_mode.h"
#include "base/status.h"
#include "comm/inprocess/single.h"
#include "trainer/batch_tensors.h"

namespace ds {

absl::StatusOr<Evaluation> EvaluationSums::Mean() const {
  if (!std::isfinite(loss)) {
    const std::unique_ptr<Communicator> alone = CreateSingleCommunicator();
    return DivergenceError(kLossIsNotFinite, not_finite, *alone);
  }
  if (samples == 0 || weight == 0) {
    return absl::InvalidArgumentError(
        "the test set is empty, or none of its targets count: nothing to evaluate");
  }
  return Evaluation{loss / weight, metrics.Values(), static_cast<int64_t>(samples)};
}

absl::Status EvaluationSums::AddRanks(Communicator& communicator) {
  double totals[] = {loss, weight, hits, samples};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(totals)), ReduceOp::kSum));
  loss = totals[0];
  weight = totals[1];
  hits = totals[2];
  samples = totals[3];
  return metrics.AddRanks(communicator);
}

absl::StatusOr<EvaluationSums> SumEvaluation(GraphModule& model, const Loss& loss,
                                             DataLoader& loader, const BatchRange& range) {
  const at::NoGradGuard no_grad;
  model.set_training(false);
  EvaluationSums sums{.metrics = MetricSums(loss)};
  DS_RETURN_IF_ERROR(loader.StartEpoch(0, range.first));
  for (int64_t i = 0; i < range.count; ++i) {
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
    if (!batch.has_value()) break;
    if (batch->size() == 0) continue;
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> inputs, InputsToTorch(*batch, model.graph()));
    DS_ASSIGN_OR_RETURN(const at::Tensor targets, TargetsToTorch(*batch));
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, model.Forward(inputs));
    DS_ASSIGN_OR_RETURN(const LossResult result, loss(outputs[0], targets));
    sums.loss += result.loss.item<double>() * result.weight;
    if (!std::isfinite(sums.loss)) {
      DS_ASSIGN_OR_RETURN(sums.not_finite, FindInForward(model, inputs));
      if (!sums.not_finite.has_value())
        sums.not_finite = {"the loss of outputs that are finite", kLowerLearningRate};
      return sums;
    }
    sums.hits += static_cast<double>(result.correct.item<int64_t>());
    sums.samples += static_cast<double>(result.count);
    sums.weight += result.weight;
    DS_ASSIGN_OR_RETURN(const TargetRows rows, loss.RowsThatCount(outputs[0], targets));
    DS_RETURN_IF_ERROR(sums.metrics.Add(rows));
  }
  return sums;
}

absl::StatusOr<Evaluation> Evaluate(GraphModule& model, const Loss& loss, DataLoader& loader,
                                    const BatchRange& range) {
  DS_ASSIGN_OR_RETURN(const EvaluationSums sums, SumEvaluation(model, loss, loader, range));
  return sums.Mean();
}

}  // namespace ds
