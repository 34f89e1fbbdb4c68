// Concatenations whose parts have the codes of the whole: a runtime then copies them instead of
// computing each anew.
#pragma once

#include "graph/graph.h"
#include "quant/quant_plan.h"
#include "quant/selection.h"

namespace ds {

// Gives a part of a Concat the parameters that `plan` has for the result, if nothing else reads the
// part, it was rounded where it came to be (an activation of `selection`), both have as many bits,
// and its own scale is at least half of the result's: at most one bit of it is lost.
void TieConcatenations(const Graph& graph, const QuantSelection& selection, QuantPlan& plan);

}  // namespace ds
