// Values in which a mask lies: what marks positions that Softmax is to forget.
#pragma once

#include "graph/graph.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"

namespace ds {

// Takes out of `selection`, so that they stay float, the activations that the collector saw holding
// infinities, and what is added to such alone. (Scores with -10000 added where a mask says so are
// never in it: what Softmax reads stays float.)
void KeepMasksFloat(const Graph& graph, const Collector& collector, QuantSelection& selection);

}  // namespace ds
