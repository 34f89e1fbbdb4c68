// One convolution's forward pass and all its gradients, against double precision.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/graph_module.h"

namespace ds {

// What runs the convolution: the executor, or LibTorch alone (which shows the library's own
// faults).
enum class ConvRunner { kExecutor, kLibrary };

struct ConvShape {
  std::vector<int64_t> image;   // extents, one or two axes
  std::vector<int64_t> stride;  // as many
  int64_t batch = 1;
  int64_t in = 1;  // channels, all groups together
  int64_t out = 1;
  int64_t group = 1;
  int64_t kernel = 1;  // the rest is the same along each axis
  int64_t pad = 0;
  int64_t dilation = 1;
  Precision precision = Precision::kFloat32;
  bool bias = false;
  // Input and gradient come with their channels last (with one axis too, as a transposed sequence
  // does).
  bool channels_last = true;
};

std::string Describe(const ConvShape& shape);

// Shapes drawn evenly from kernels of 1, 3, 5 and 7, strides of 1 to 3 (and uneven ones), paddings,
// dilations, 1 to 64 channels around the widths of vectors, ungrouped, grouped and depthwise,
// extents even and odd, and `precisions`.
std::vector<ConvShape> RandomConvShapes(uint64_t seed, int count,
                                        const std::vector<Precision>& precisions);

// What oneDNN 3.12 gets wrong (docs/executor.md), and some shapes beside it:
// 1x1 kernels with a stride and few input channels, over pictures whose sides the stride divides,
std::vector<ConvShape> FewChannelsStrided1x1();
// results one column wide, by strides, in bf16,
std::vector<ConvShape> OneColumnWide();
// and dilated kernels in groups, in bf16.
std::vector<ConvShape> DilatedGroups();

// Runs the passes. What is wrong ("gradient of the weight: off by ..."), or nothing.
std::string CheckConvPasses(const ConvShape& shape, ConvRunner runner, uint64_t seed);

}  // namespace ds
