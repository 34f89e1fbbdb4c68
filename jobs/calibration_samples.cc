#include "jobs/calibration_samples.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "base/status.h"
#include "trainer/batch_tensors.h"

namespace ds {

CalibrationData FirstSamples(DataLoader& loader, const Graph& graph, int64_t samples) {
  return [&loader, &graph,
          left = samples]() mutable -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
    while (left > 0) {
      DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
      if (!batch.has_value()) break;
      if (batch->size() == 0) continue;
      const int64_t taken = std::min(left, batch->size());
      left -= taken;
      // The batch's memory goes back to the loader.
      DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> inputs, InputsToTorch(*batch, graph));
      const bool all = taken == batch->size();  // then whole inputs stay whole
      for (at::Tensor& input : inputs) input = (all ? input : input.narrow(0, 0, taken)).clone();
      return inputs;
    }
    return std::nullopt;
  };
}

}  // namespace ds
