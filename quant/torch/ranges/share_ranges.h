// Ranges of shares, what a Softmax makes, in a network whose other values are rounded.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"
#include "quant/torch/floating/output_noise.h"

namespace ds {

// The parameters, by name, of shares that reach beyond their range in `plan` once all is rounded by
// it, widened to what they reach. Rounded queries and keys weigh otherwise than exact ones: where
// those are nearly equal, and attention even, these may have a favourite. A row of shares sums to
// 1, and what is cut off its largest is missing in all that the row weighs; the exact network's
// shares cannot tell. From the front, so that a layer sees what those before it have become. Errors
// as of GraphModule.
absl::StatusOr<std::map<std::string, QuantParams>> WidenedShares(const Graph& graph,
                                                                 const QuantSelection& selection,
                                                                 const QuantPlan& plan,
                                                                 const InputBatches& batches);

}  // namespace ds
