// The kernels of the edge engine: one table of functions an instruction set, all int8 results with
// the same bits. Pure functions of their arguments: no state, no allocation, no errors; whoever
// calls has checked shapes and pointers. Any number of threads may share one operator by splitting
// its range; parts may be of any size, in any order.
#pragma once

#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {

// Numbers are bits in files. kNeon is what every 64-bit ARM has, kNeonDot adds the dot product of
// ARMv8.2, kNeonI8mm the products of matrices of ARMv8.6.
enum class Isa : uint8_t {
  kScalar = 0,
  kAvx2 = 1,
  kAvx512Vnni = 2,
  kNeon = 3,
  kNeonDot = 4,
  kNeonI8mm = 5
};
constexpr int kIsaCount = 6;

struct Kernels {
  Isa isa;
  const char* name;  // IsaName(isa)

  // Bytes of scratch, aligned to 64, that each thread brings to conv8, conv4 and conv_f32 /
  // depthwise8; the same scratch serves any number of operators, one at a time. May be 0. Depends
  // neither on the batch nor on heights: it is enough for any rows of the images.
  int64_t (*conv_scratch)(const ConvShape& shape);
  int64_t (*depthwise_scratch)(const ConvShape& shape);

  // Rows are output pixels in [0, shape.Pixels()), columns output channels of each group in [0,
  // out_channels); a column range begins at a multiple of kChannelBlock, and ends at one or at the
  // end.
  void (*conv8)(const Conv8Args& args, Range rows, Range columns, void* scratch);
  void (*conv4)(const Conv8Args& args, Range rows, Range columns, void* scratch);
  void (*conv_f32)(const ConvF32Args& args, Range rows, Range columns, void* scratch);
  // A column range as conv8's.
  void (*dense8)(const Dense8Args& args, Range rows, Range columns);
  // Of codes, of floats.
  void (*dense4)(const Dense4Args& args, Range rows, Range columns);
  void (*dense4_f32)(const Dense4Args& args, Range rows, Range columns);
  // Rows are rows of output images, in [0, batch * out_h).
  void (*depthwise8)(const Depthwise8Args& args, Range rows, void* scratch);
  void (*depthwise_f32)(const ConvF32Args& args, Range rows);
  void (*pool8)(const PoolArgs& args, Range rows);
  void (*pool_f32)(const PoolArgs& args, Range rows);
  void (*resize_nearest)(const ResizeNearestArgs& args, Range rows);

  // Rows as the arguments have them.
  void (*quantise)(const QuantiseArgs& args, Range rows);
  void (*dequantise)(const DequantiseArgs& args, Range rows);
  void (*add8)(const Add8Args& args, Range rows);
  void (*multiply8)(const Multiply8Args& args, Range rows);
  void (*lookup8)(const Lookup8Args& args, Range rows);
  void (*copy)(const CopyArgs& args, Range rows);
  void (*softmax8)(const SoftmaxArgs& args, Range rows);
  void (*softmax_f32)(const SoftmaxArgs& args, Range rows);
  void (*layer_norm_f32)(const LayerNormArgs& args, Range rows);
  void (*binary_f32)(const BinaryF32Args& args, Range rows);
  void (*activate_f32)(const ActivateF32Args& args, Range rows);
  void (*add_dots_f32)(const AddDotsF32Args& args, Range rows);
};

// Null where this program or this processor (or its operating system) lacks the instruction set.
const Kernels* KernelsFor(Isa isa);
// The fastest that this processor has.
const Kernels& BestKernels();
// By name, as DS_ISA has it: null for an unknown name and where KernelsFor() has none.
const Kernels* KernelsByName(const char* name);
// "scalar", "avx2", "avx512vnni", "neon", "neondot", "neoni8mm".
const char* IsaName(Isa isa);

}  // namespace ds::engine
