// Any batch, for a network whose file has a number where the batch stands.
#pragma once

#include "absl/status/status.h"
#include "graph/graph.h"

namespace ds {

// Makes the first extent of the first input, and of other inputs where it is the same number,
// unknown. The batch is followed through the values that depend on an input: targets of Reshape and
// Expand that had it written out take what comes, constants that repeat one row for each sample
// (class tokens, positions, initial states) become that row. What depends on initialisers alone
// keeps its numbers. Infers shapes. No-op where the first extent is unknown already.
//
// InvalidArgument, naming the node, where it cannot be told where the batch goes (a batch of 1
// among several extents that may hold it) or where the first output would lose it; the mend is to
// export with the batch as a named extent.
absl::Status MakeBatchDynamic(Graph& graph);

}  // namespace ds
