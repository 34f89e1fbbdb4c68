// A matrix product of bytes whose results stay floats, in plain loops.
#pragma once

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/generic/conv_inl.h"
#include "deploy/engine/runtime/kernels/generic/place_inl.h"
#include "deploy/engine/runtime/kernels/pack/layout.h"

namespace ds::engine {
namespace {

// Calls panel(row, first column, columns of the panel that are in the range, the panel's weights).
template <typename Panel>
void ForDensePanels(const Dense8Args& args, Range rows, Range columns, Panel panel) {
  const int64_t depth = RoundUp(args.depth, 4);
  for (int32_t column = columns.begin; column < columns.end; column += kPanel) {
    const auto* weights = static_cast<const int8_t*>(args.weights) + column * depth;
    for (int32_t row = rows.begin; row < rows.end; ++row)
      panel(row, column, std::min(kPanel, columns.end - column), weights);
  }
}

inline void PlainDense8(const Dense8Args& args, Range rows, Range columns) {
  const auto depth = static_cast<int32_t>(RoundUp(args.depth, 4));
  ForDensePanels(args, rows, columns,
                 [&](int32_t row, int32_t column, int32_t count, const int8_t* weights) {
                   uint32_t sums[kPanel];  // a hostile bias wraps
                   std::copy_n(args.bias + column, kPanel, sums);
                   Panel8(RowAt<uint8_t>(args.input, row), weights, depth,
                          PanelWidth(args.columns - column), sums);
                   float* out = RowAt<float>(args.output, row) + column;
                   for (int32_t c = 0; c < count; ++c) {
                     const float product =
                         static_cast<float>(static_cast<int32_t>(sums[c])) * args.scale[column + c];
                     out[c] = product + args.shift[column + c];
                   }
                 });
}

}  // namespace
}  // namespace ds::engine
