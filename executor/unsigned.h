// Unsigned integers of 16, 32 and 64 bits. LibTorch stores them but has few kernels for them: their
// nodes are computed in int64 and the results narrowed, which wraps as unsigned arithmetic does.
#pragma once

#include "executor/kernel.h"

namespace ds::executor {

// `kernel` itself where no operand and no result of the node is such an integer. The kernel that
// is returned throws c10::Error for elements of uint64 beyond 2^63 - 1, which int64 has not, unless
// the operator gives the same bits either way.
Kernel ThroughInt64(const NodeView& view, Kernel kernel);

}  // namespace ds::executor
