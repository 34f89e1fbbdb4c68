// A float model and its quantised one, side by side over the same batches: labels' measures where
// there are labels, agreement of every output in any case, and where an output was lost.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "jobs/quantize/agreement.h"
#include "jobs/quantize/sample_source.h"
#include "trainer/evaluate.h"

namespace ds {

struct GraphComparison {
  std::optional<Evaluation> exact, quantized;  // with labels that the loss takes
  std::vector<OutputAgreement> outputs;
  std::vector<std::string> warnings;  // outputs under kFewDecibels, labels that were not used
};

// The quantised graph has the float one's inputs and outputs, and its values' names.
// InvalidArgument where there are no batches; labels that do not go with loss and output by shape
// or type are left out with a warning, other errors of the loss come back, as do the executor's.
absl::StatusOr<GraphComparison> CompareGraphs(const Graph& exact, const Graph& quantized,
                                              const LossOptions& loss, const TestBatches& batches);

}  // namespace ds
