// What each kind of operator is told by the file, beside its tensors and constants (docs/dsm.md has
// the same as a table). Images lie as [N, H, W, C]. Every field is checked by check/ before use.
#pragma once

#include <cstdint>

namespace ds::engine::file {

enum class OperatorKind : uint16_t {
  kQuantise = 1,    // float -> codes; QuantiseParameters
  kDequantise = 2,  // codes -> float; QuantiseParameters
  kConv8 = 3,       // codes, weights of 8 bits; Conv8Parameters
  kDepthwise8 = 4,  // the same, a filter a channel
  kPool8 = 5,       // Pool8Parameters
  kAdd8 = 6,        // Add8Parameters
  kMultiply8 = 7,   // Multiply8Parameters
  kLookup8 = 8,     // a table of 256 codes; no parameters
  kConvF32 = 9,     // ConvF32Parameters
  kDepthwiseF32 = 10,
  kPoolF32 = 11,       // PoolF32Parameters
  kBinaryF32 = 12,     // BinaryF32Parameters
  kActivateF32 = 13,   // ActivateParameters
  kSoftmaxF32 = 14,    // over the last dim; no parameters
  kLayerNormF32 = 15,  // over the last dim; LayerNormParameters
  kMove = 16,          // elements in another order; MoveParameters
  kConv4 = 17,         // as kConv8, weights of 4 bits
  kConcat = 18,        // ConcatParameters
  kMatMulF32 = 19,     // two computed matrices; MatMulParameters
  kGather = 20,        // rows of a table by index; no parameters
  kDense8 = 21,        // codes and weights of 8 bits, results floats; no parameters
  // general.h: whatever a graph has beside networks' layers, on dense tensors.
  kUnary = 22,       // one element at a time; UnaryParameters
  kCast = 23,        // to another type; CastParameters
  kBinary = 24,      // two operands, each repeated as it says; BinaryParameters
  kSelect = 25,      // one of two operands where a third says so; SelectParameters
  kReduce = 26,      // over an axis; ReduceParameters
  kTake = 27,        // along an axis by index; TakeParameters
  kGatherNd = 28,    // elements or rows by points; PointsParameters
  kScatterNd = 29,   // the same, written; PointsParameters
  kResample = 30,    // along an axis by weights; ResampleParameters
  kFold = 31,        // windows added up where they lie: a transposed convolution's; FoldParameters
  kScan = 32,        // sums so far; ScanParameters
  kTopK = 33,        // TopKParameters
  kRecurrent = 34,   // LSTM, GRU, RNN; RecurrentParameters
  kMatMul8 = 35,     // two computed matrices of codes; MatMul8Parameters
  kSoftmax8 = 36,    // codes to codes over the last dim; Softmax8Parameters
  kGridSample = 37,  // GridSampleParameters
  // Several of the above as one.
  kConvChain8 = 38,      // ConvChain8Parameters
  kLayerNorm8 = 39,      // codes to codes over the last dim; LayerNorm8Parameters
  kSqueezeExcite8 = 40,  // averages, two products, a gate a channel; SqueezeExcite8Parameters
  kDense4 = 41,          // codes or floats, weights of 4 bits in blocks; Dense4Parameters
};
inline constexpr uint16_t kLastOperatorKind = 41;

// Tensors of these lie densely (general.h).
constexpr bool IsGeneral(OperatorKind kind) {
  return kind >= OperatorKind::kUnary && kind <= OperatorKind::kGridSample;
}

// Of a convolution or a pool. The output's extents are the tensor's.
struct Window {
  uint32_t kernel_h, kernel_w;
  uint32_t stride_h, stride_w;
  uint32_t dilation_h, dilation_w;
  uint32_t pad_top, pad_left;
  uint32_t groups;  // pools and depthwise: as many as channels
};
static_assert(sizeof(Window) == 36);

// Add8 of kernels/args.h: operand a is the first input, or the convolution's own result.
struct Sum8 {
  float ratio_a, ratio_b;
  int32_t zero_a, zero_b;
  int32_t zero_point, low, high;
};
static_assert(sizeof(Sum8) == 28);

// Inputs: x, and the residual where has_sum. Constants: packed weights, folded bias (int32),
// multipliers (float), both padded, and where has_table a table of 256 codes.
struct Conv8Parameters {
  Window window;
  int32_t input_zero;  // what lies outside reads as
  int32_t zero_point, low, high;
  uint32_t has_table, has_sum;
  Sum8 sum;
};
static_assert(sizeof(Conv8Parameters) == 88);

// One convolution of a chain.
struct ChainStage {
  uint32_t kind;                        // kConv8, kConv4 or kDepthwise8
  uint32_t out_h, out_w, out_channels;  // of an image of its output
  Conv8Parameters conv;                 // has_sum: of the last one alone
};
static_assert(sizeof(ChainStage) == 104);

// Convolutions of which each reads the one before it, whose output is in no tensor. Each window
// meets its image, and no output is higher or wider than what its stage reads. Inputs: x, and the
// residual where the last has_sum. Constants: each stage's as Conv8Parameters has them.
inline constexpr uint32_t kMostStages = 6;
struct ConvChain8Parameters {
  uint32_t stage_count;            // 2 to kMostStages
  ChainStage stages[kMostStages];  // those behind the last one are not read
};
static_assert(sizeof(ConvChain8Parameters) == 628);

// Constants: packed weights, padded bias. Inputs: x, and the residual where has_residual.
struct ConvF32Parameters {
  Window window;
  uint32_t activation;  // kernels' Activation
  float low, high;
  uint32_t has_residual;
};
static_assert(sizeof(ConvF32Parameters) == 52);

enum class PoolWay : uint32_t { kMax = 0, kAverage = 1 };

struct PoolF32Parameters {
  Window window;
  uint32_t way;
  uint32_t count_padding;
};
static_assert(sizeof(PoolF32Parameters) == 44);

struct Pool8Parameters {
  PoolF32Parameters pool;
  float scale_in, scale_out;
  int32_t zero_in, zero_out, low, high;
};
static_assert(sizeof(Pool8Parameters) == 68);

// `planes` > 1: the float side is [N, planes, P], the codes [N, P, planes] (an image as graphs have
// it); 1: both sides lie alike.
struct QuantiseParameters {
  float scale;
  int32_t zero_point;
  uint32_t planes;
};
static_assert(sizeof(QuantiseParameters) == 12);

// Two inputs; where has_table a constant. How b repeats: Spread.
struct Add8Parameters {
  Sum8 sum;
  uint32_t spread;
  uint32_t has_table;
};
static_assert(sizeof(Add8Parameters) == 36);

struct Multiply8Parameters {
  float ratio;
  int32_t zero_a, zero_b;
  int32_t zero_point, low, high;
  uint32_t spread;
  uint32_t has_table;
};
static_assert(sizeof(Multiply8Parameters) == 32);

// How the second operand covers the first, whose shape the result has.
enum class Spread : uint32_t {
  kSame = 0,      // the same dims
  kRow = 1,       // as many elements as a's last dim, for every row
  kImageRow = 2,  // [N, ..., C] against [N, 1, ..., 1, C]: one row for each of the first dim
};

// One product of a squeeze-excite: kConv8 or kConv4 of 1x1, without a sum.
struct GateStage {
  uint32_t kind;
  Conv8Parameters conv;
};
static_assert(sizeof(GateStage) == 92);

// What pool8 makes of a whole image's channels, `reduce` of that, `expand` of that, and multiply8
// of the image and that (spread kImageRow). Outputs: the result, then the averages, what `reduce`
// gives and the gates, a row an image each. Constants: those of each stage as Conv8Parameters has
// them, then the product's table where it has one.
struct SqueezeExcite8Parameters {
  float scale_in, scale_out;  // the averages', as Pool8Parameters
  int32_t zero_in, zero_out, low, high;
  GateStage reduce, expand;
  Multiply8Parameters product;
};
static_assert(sizeof(SqueezeExcite8Parameters) == 240);

struct BinaryF32Parameters {
  uint32_t operation;  // kernels' Binary
  uint32_t spread;
  uint32_t activation;
  float low, high;
};
static_assert(sizeof(BinaryF32Parameters) == 20);

struct ActivateParameters {
  uint32_t activation;
  float low, high;
};
static_assert(sizeof(ActivateParameters) == 12);

struct LayerNormParameters {
  float epsilon;
  uint32_t has_scale, has_shift;  // constants, in this order
};
static_assert(sizeof(LayerNormParameters) == 12);

// As quantise computes it of what layer_norm_f32 makes of what dequantise computes.
struct LayerNorm8Parameters {
  LayerNormParameters norm;
  float scale_in, scale_out;
  int32_t zero_in, zero_out;
};
static_assert(sizeof(LayerNorm8Parameters) == 28);

// The output is filled in order, as of shape `dims` (outermost first, ones in front); its elements
// are the input's at start + sum of index * strides. In elements. Transposes, slices, repeats.
struct MoveParameters {
  uint32_t dims[6];
  int32_t strides[6];
  uint32_t start;
};
static_assert(sizeof(MoveParameters) == 52);

// The output is [outer, sum of the inners]; input i, [outer, inner i], follows those before it.
struct ConcatParameters {
  uint32_t outer;
};
static_assert(sizeof(ConcatParameters) == 4);

// A product whose results stay floats; a scale for each block of the depth and each column.
struct Dense4Parameters {
  uint32_t block;       // of the depth: a multiple of 8
  uint32_t input_zero;  // of codes; floats: 0
};
static_assert(sizeof(Dense4Parameters) == 8);

// y[i] = a[i] b[i]: a is [batch, rows, depth], b [depth, columns], or [columns, depth] where
// turned, as many as the batch or one for all.
struct MatMulParameters {
  uint32_t batch, rows, depth, columns;
  uint32_t turned;
};
static_assert(sizeof(MatMulParameters) == 20);

}  // namespace ds::engine::file
