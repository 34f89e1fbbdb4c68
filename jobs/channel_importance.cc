#include "jobs/channel_importance.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/status.h"
#include "prune/torch/taylor_importance.h"
#include "trainer/batch_tensors.h"
#include "trainer/optim/loss.h"

namespace ds {
namespace {

// Squares are taken of sums over so many samples.
constexpr int64_t kTaylorBatch = 32;

// The first `samples` of the loader's epoch in small batches.
LabelledBatches SmallBatches(DataLoader& loader, const Graph& graph, int64_t samples) {
  struct State {
    LabelledBatch batch;
    int64_t at = 0, size = 0, left = 0;
  };
  return
      [&loader, &graph,
       state = State{.left = samples}]() mutable -> absl::StatusOr<std::optional<LabelledBatch>> {
        while (state.at == state.size && state.left > 0) {
          DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
          if (!batch.has_value()) return std::nullopt;
          // The batch's memory goes back to the loader.
          DS_ASSIGN_OR_RETURN(state.batch.inputs, InputsToTorch(*batch, graph));
          for (at::Tensor& input : state.batch.inputs) input = input.clone();
          DS_ASSIGN_OR_RETURN(const at::Tensor targets, TargetsToTorch(*batch));
          state.batch.labels = targets.clone();
          state.at = 0;
          state.size = batch->size();
        }
        const int64_t count = std::min({kTaylorBatch, state.size - state.at, state.left});
        if (count == 0) return std::nullopt;
        const int64_t from = std::exchange(state.at, state.at + count);
        state.left -= count;
        LabelledBatch part = {{}, state.batch.labels.narrow(0, from, count)};
        for (const at::Tensor& input : state.batch.inputs)
          part.inputs.push_back(input.narrow(0, from, count));
        return part;
      };
}

}  // namespace

absl::StatusOr<ChannelImportance> MeasureChannelImportance(const TrainConfig& config,
                                                           const DataSplits& splits,
                                                           const Graph& graph, int64_t samples) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config, splits.train, DataUse::kCalibrate));
  DS_RETURN_IF_ERROR(loader->StartEpoch(0));
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::ForModel(config.loss, graph));
  const auto value = [&loss](const at::Tensor& output,
                             const at::Tensor& labels) -> absl::StatusOr<at::Tensor> {
    DS_ASSIGN_OR_RETURN(const LossResult result, loss(output, labels));
    return result.loss;
  };
  return TaylorImportance(graph, SmallBatches(*loader, graph, samples), value);
}

}  // namespace ds
