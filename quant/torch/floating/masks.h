// Values in which a mask lies: what marks positions that Softmax is to forget.
#pragma once

#include "graph/graph.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"

namespace ds {

// Takes out of `selection`, so that they stay float, the activations that the collector saw holding
// infinities, and those that Softmax alone reads and that reach further than Softmax tells apart:
// scores with -10000 added where a mask says so (BERT), or with the least float. Codes of a range
// that wide would leave of the scores themselves nothing. What is added to such scores stays float,
// too, if nothing else reads it.
void KeepMasksFloat(const Graph& graph, const Collector& collector, QuantSelection& selection);

}  // namespace ds
