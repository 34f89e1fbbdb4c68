// What the weights of a layer are multiplied by, as columns: a convolution seen as a matrix
// product.
#pragma once

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "graph/graph.h"

namespace ds {

// [samples, groups, inputs, positions] float: for each sample as many positions as
// `most_elements` of all allow, at least one, spread over all of its; `inputs` in the order of one
// output's weights (channel, row, column). `node`: a Conv of [N, C, H, W], or a Gemm or MatMul by a
// matrix of what has `samples` equal parts along its first axis. `weight`: of that constant.
// Undefined for anything else.
at::Tensor LayerColumns(const Node& node, const Shape& weight, const at::Tensor& input,
                        int64_t samples, int64_t most_elements);

}  // namespace ds
