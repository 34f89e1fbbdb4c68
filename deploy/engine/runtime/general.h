// What the file tells the general operators (kinds 22 to 37): those that make every graph run, on
// dense tensors of floats, integers and booleans. docs/dsm.md has the same as a table.
#pragma once

#include <cstdint>

namespace ds::engine::file {

constexpr int kGeneralDims = 6;

// On floats unless said otherwise.
enum class UnaryWay : uint32_t {
  kAbs = 0,  // of int32 and int64 too
  kNegate,   // of int32 and int64 too
  kSign,     // of int32 and int64 too
  kNot,      // of bool, and bit by bit of int32 and int64
  kSqrt,
  kReciprocal,
  kExp,
  kLog,
  kErf,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kTanh,
  kAsinh,
  kAcosh,
  kAtanh,
  kRound,  // halves to even
  kFloor,
  kCeil,
  kSigmoid,
  kSoftplus,
  kSoftsign,
  kMish,
  kElu,              // a
  kCelu,             // a
  kSelu,             // a, b: gamma
  kLeakyRelu,        // a
  kThresholdedRelu,  // a
  kHardSigmoid,      // a x + b within 0..1
  kShrink,           // a: lambd, b: bias
  kGeluTanh,
  kPower,     // x^a
  kScale,     // a x + b
  kIsNan,     // to bool
  kIsInf,     // to bool; a: negative ones count, b: positive ones do
  kIsNonzero  // to bool, of any number
};

struct UnaryParameters {
  uint32_t way;
  float a, b;
};
static_assert(sizeof(UnaryParameters) == 12);

// As C converts; floats towards zero and within the type's range, not a number as 0. Where `moved`,
// bytes whose sign bit changes: int8 and codes.
struct CastParameters {
  uint32_t moved;
};
static_assert(sizeof(CastParameters) == 4);

// Of float32, int32 and int64, whose arithmetic wraps; division by 0 of integers gives 0. Those of
// bits, and of numbers compared, also of bool.
enum class BinaryWay : uint32_t {
  kAdd = 0,
  kSubtract,
  kMultiply,
  kDivide,  // integers: towards zero
  kMaximum,
  kMinimum,
  kPower,
  kModulo,     // the divisor's sign
  kRemainder,  // the dividend's sign
  kPrelu,      // a, or a b where a is negative
  kBitAnd,
  kBitOr,
  kBitXor,
  kEqual,  // from here on to bool
  kLess,
  kGreater,
  kLessOrEqual,
  kGreaterOrEqual,
};

// The output is filled in order, as of shape `dims` (outermost first, ones in front); each
// operand's element is at the sum of index * stride. In elements.
struct BinaryParameters {
  uint32_t way;
  uint32_t dims[kGeneralDims];
  uint32_t strides_a[kGeneralDims], strides_b[kGeneralDims];
};
static_assert(sizeof(BinaryParameters) == 76);

// Inputs: bool, and two of the output's type.
struct SelectParameters {
  uint32_t dims[kGeneralDims];
  uint32_t strides_if[kGeneralDims], strides_a[kGeneralDims], strides_b[kGeneralDims];
};
static_assert(sizeof(SelectParameters) == 96);

enum class ReduceWay : uint32_t {
  kSum = 0,
  kMean,
  kMaximum,
  kMinimum,
  kProduct,
  kL1,
  kL2,         // of floats
  kLogSum,     // of floats
  kLogSumExp,  // of floats
  kSumSquare,
  kArgMaximum,  // the first; from here on to int64
  kArgMinimum,
  kArgMaximumLast,
  kArgMinimumLast,
};

// From [outer, extent, inner] to [outer, inner].
struct ReduceParameters {
  uint32_t way, outer, extent, inner;
};
static_assert(sizeof(ReduceParameters) == 16);

// From [outer, extent, inner] and `count` indices (int32 or int64) to [outer, count, inner], of any
// type. Where `wraps`, negative indices count from the end. One outside gives `fill`.
struct TakeParameters {
  uint32_t outer, extent, inner, count, wraps;
  uint32_t fill[2];  // its bytes
};
static_assert(sizeof(TakeParameters) == 28);

enum class ScatterWay : uint32_t { kReplace = 0, kAdd, kMultiply, kMaximum, kMinimum };

// For each point of `dims` there are `depth` indices and `inner` elements. These lie in the data at
// the sum of point * stride and index * step, negative indices counting from the end of `extents`.
// Gather: data, indices; what lies outside gives zeros. Scatter: data, indices, updates; the output
// is the data, then changed point by point; what lies outside changes nothing.
struct PointsParameters {
  uint32_t dims[kGeneralDims], strides[kGeneralDims];
  uint32_t depth;
  uint32_t extents[kGeneralDims], steps[kGeneralDims];
  uint32_t inner;
  uint32_t way;  // of a scatter
};
static_assert(sizeof(PointsParameters) == 108);

// From [outer, extent, inner] to [outer, count, inner] of floats: the sum of `taps` elements along
// the axis, each weighted, and an offset. Inputs: x, and constant tensors: indices [count, taps] of
// int32, weights of the same shape, offsets [count].
struct ResampleParameters {
  uint32_t outer, extent, inner, count, taps;
};
static_assert(sizeof(ResampleParameters) == 20);

// Of a transposed convolution: input [batch * in_h * in_w, groups * kernel_h * kernel_w * channels]
// (channels of one group), bias [groups * channels]; output [batch, out_h, out_w, groups *
// channels] whose pixel (y, x) is where input pixel (i, j)'s tap (k, l) falls if y = i * stride_h +
// k * dilation_h - pad_top, and x alike.
struct FoldParameters {
  uint32_t in_h, in_w;
  uint32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  uint32_t groups;
};
static_assert(sizeof(FoldParameters) == 44);

// Along the axis of [outer, extent, inner]; float32, int32 or int64.
struct ScanParameters {
  uint32_t outer, extent, inner, exclusive, backward;
};
static_assert(sizeof(ScanParameters) == 20);

// From [outer, extent, inner] to two of [outer, count, inner]: values and int64 indices, best
// first, of equal ones the first. Not a number counts as the greatest.
struct TopKParameters {
  uint32_t outer, extent, inner, count, largest;
};
static_assert(sizeof(TopKParameters) == 20);

enum class RecurrentWay : uint32_t { kLstm = 0, kGru, kGruLinearBeforeReset, kRnn };

// Inputs: x [steps, batch, inputs]; w [gates * hidden, inputs]; r [gates * hidden, hidden]; bias of
// both [2 * gates * hidden]; first h [batch, hidden]; of an LSTM also first c and peepholes [3 *
// hidden]; all of one direction. Outputs: all h [steps, batch, hidden], last h [batch, hidden], of
// an LSTM last c. Gates lie as ONNX has them: i, o, f, c; z, r, h. Activations: UnaryWay with a, b.
struct RecurrentParameters {
  uint32_t way, steps, batch, inputs, hidden, backward;
  float clip;  // 0: none
  uint32_t activation[3];
  float a[3], b[3];
};
static_assert(sizeof(RecurrentParameters) == 64);

// As MatMulParameters has it, of codes: y = clamp(round(float(sum (a - zero_a)(b - zero_b)) *
// multiplier) + zero_point, low, high).
struct MatMul8Parameters {
  uint32_t batch, rows, depth, columns, turned;
  uint32_t b_repeats;
  int32_t zero_a, zero_b;
  float multiplier;
  int32_t zero_point, low, high;
};
static_assert(sizeof(MatMul8Parameters) == 48);

// The kernel's: e = exponent[x + 255 - greatest x of the row], y = round(e / (scale * sum e)) +
// zero point. Constant: 256 exponents (int32), each in [0, 2^31 / columns).
struct Softmax8Parameters {
  float scale;
  int32_t zero_point;
};
static_assert(sizeof(Softmax8Parameters) == 8);

enum class GridWay : uint32_t { kNearest = 0, kLinear, kCubic };
enum class GridPadding : uint32_t { kZeros = 0, kBorder, kReflection };

// Inputs: [N, H, W, C], grid [N, H', W', 2] of x, y; output [N, H', W', C].
struct GridSampleParameters {
  uint32_t way, padding, align_corners;
};
static_assert(sizeof(GridSampleParameters) == 12);

}  // namespace ds::engine::file
