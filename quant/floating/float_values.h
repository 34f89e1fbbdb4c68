// Which few values have to stay float so that a network's outputs keep a wanted signal-to-noise
// ratio: powers and logarithms of spectra, regressions of unlike scales, ... All layers at 8 bits
// round about equally well; where an output is far off all the same, mostly a handful of values is
// to blame, and is found by halving: parts of the network are rounded alone, and the worst part is
// cut in two until it is one value.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"

namespace ds {

// Relative squared error of each output of the network with just this plan's weights and values
// rounded.
using MeasureErrors = std::function<absl::StatusOr<std::vector<double>>(const QuantPlan& plan)>;

struct FloatValuesOptions {
  double most_error = 0.01;    // of an output's power, > 0
  int most_measurements = 96;  // >= 1
};

struct FloatValues {
  QuantPlan plan;                    // without them
  std::vector<ValueId> values;       // that were to blame, in the graph's order
  std::vector<double> error_before;  // of each output, with all of `plan` as it was
  std::vector<double> error_after;
};

// `plan` is of `graph` and holds every site of `selection`. Values are taken out of it, with the
// weights and the other values whose integers then serve no node, until no output's error is above
// `most_error`. To blame is a value that alone makes that much, and of those that alone make a
// quarter of it a few (4, or a 16th of all): noise that all layers share is nobody's, and a network
// half in float serves nobody. Where the outputs are near enough to begin with, or what is to blame
// leaves them too far off and had no three quarters of the error, `values` is empty. Errors are
// those of `measure`.
absl::StatusOr<FloatValues> FindFloatValues(const Graph& graph, const QuantSelection& selection,
                                            const QuantPlan& plan, const MeasureErrors& measure,
                                            const FloatValuesOptions& options);

}  // namespace ds
