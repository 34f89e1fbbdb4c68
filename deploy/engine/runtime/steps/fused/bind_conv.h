// What a convolution of codes is told by the file, checked: for operators that are one and for
// those that have several.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/kernels/packed.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

// Constant `number` as weights packed for the shape and the running instruction set.
Status BindWeights(const Binding& binding, PackedKind kind, int number, const ConvShape& shape,
                   const void*& weights);

// Codes, bounds and flags; bias, multipliers and, where has_table, the table: constants `first`,
// and those behind it, for `padded` channels. Not the sum.
Status BindRequantise(const Binding& binding, const file::Conv8Parameters& parameters, int first,
                      int64_t padded, Requantise& how);

// The sum's codes, and the second input as what is added. `how.add` is the caller's to set.
Status BindResidual(const Binding& binding, const file::Conv8Parameters& parameters,
                    Requantise& how);

}  // namespace ds::engine
