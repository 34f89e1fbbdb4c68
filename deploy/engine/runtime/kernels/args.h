// What the kernels are given: plain data on raw pointers, nothing owned. Images are [N, H, W, C],
// one byte (u8) or one float an element, channels adjacent; strides are in bytes and apart from the
// shape, so that a tensor may be a slice of channels of a wider one (concat and split without a
// copy) or lie inside a frame.
//
// Quantised tensors: real = (stored - zero_point) * scale. Sums are exact in int32 (at most
// kMaxDepth products). Results are the same bits in every instruction set and for every split of
// the work.
#pragma once

#include <cstdint>

namespace ds::engine {

// Whoever lays out a buffer that kernels read leaves this many readable bytes after its last
// element.
constexpr int64_t kReadSlack = 64;
// Per-channel arrays (bias, multiplier) of a group are padded with zeros to a multiple of this.
constexpr int32_t kChannelBlock = 32;
// Products in one sum: 255 * 128 * kMaxDepth fits int32.
constexpr int32_t kMaxDepth = 65536;

constexpr int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

// Half-open.
struct Range {
  int32_t begin = 0, end = 0;
};

// A read image and a written one. Bytes from one pixel, row or image to the next.
struct ImageIn {
  const void* data = nullptr;
  int64_t pixel_stride = 0, row_stride = 0, image_stride = 0;
};
struct ImageOut {
  void* data = nullptr;
  int64_t pixel_stride = 0, row_stride = 0, image_stride = 0;
};

// Rows of `columns` adjacent elements; for element-wise kernels a pixel is a row.
struct RowsIn {
  const void* data = nullptr;
  int64_t stride = 0;  // 0: every row is the same one
};
struct RowsOut {
  void* data = nullptr;
  int64_t stride = 0;
};

// y = table[clamp(rne(a * ratio_a + b * ratio_b) + zero_point, low, high)] where a = stored a -
// zero_a, in fp32: both products are rounded, then the sum. ratio = scale of the operand / scale of
// the result. ONNX Runtime's QLinearAdd folds the zero points into one constant and fuses multiply
// and add: the results differ by at most one.
struct Add8 {
  float ratio_a = 1, ratio_b = 1;
  int32_t zero_a = 0, zero_b = 0;
  int32_t zero_point = 0, low = 0, high = 255;
  const uint8_t* table = nullptr;  // 256 bytes or null
};

// y = table[clamp(rne((a - zero_a) * (b - zero_b) * ratio) + zero_point, low, high)]; the product
// of the integers is exact, then one product in fp32. ratio = scale_a * scale_b / scale of the
// result.
struct Multiply8 {
  float ratio = 1;
  int32_t zero_a = 0, zero_b = 0;
  int32_t zero_point = 0, low = 0, high = 255;
  const uint8_t* table = nullptr;
};

// From a sum to a stored byte: y = table[clamp(rne(float(sum) * multiplier[c]) + zero_point, low,
// high)], the product in fp32, not contracted; rne rounds halves to even. multiplier[c] = scale_x *
// scale_w[c] / scale_y. Then, where `add` is set, y is operand a of it and `residual` (at the place
// of y in the output's shape) operand b.
struct Requantise {
  const int32_t* bias = nullptr;  // FoldBias(); padded, a group after another
  const float* multiplier = nullptr;
  int32_t zero_point = 0, low = 0, high = 255;
  const uint8_t* table = nullptr;
  const Add8* add = nullptr;
  ImageIn residual;
};

// in_channels and out_channels are of one group; groups lie beside each other in the tensors'
// channels.
struct ConvShape {
  int32_t batch = 1, in_h = 1, in_w = 1, in_channels = 1;
  int32_t out_h = 1, out_w = 1, out_channels = 1;
  int32_t groups = 1;
  int32_t kernel_h = 1, kernel_w = 1;
  int32_t stride_h = 1, stride_w = 1;
  int32_t dilation_h = 1, dilation_w = 1;
  int32_t pad_top = 0, pad_left = 0;  // what lies outside reads as pad_value

  // Products in one sum of a convolution that is not depthwise.
  constexpr int32_t Depth() const { return kernel_h * kernel_w * in_channels; }
  // Rows of the matrix product: the output's pixels.
  constexpr int32_t Pixels() const { return batch * out_h * out_w; }
};

// A convolution, or a matrix product [M, K] x [K, N] as one of 1x1 with in_w = out_w = M.
struct Conv8Args {
  ConvShape shape;
  ImageIn input;
  ImageOut output;
  const void* weights = nullptr;  // PackConv() for this instruction set, or PackConv4()
  uint8_t pad_value = 0;          // the input's zero point
  Requantise requantise;
};

// A matrix product whose results stay floats, as a classifier's do: y = float(sum) * scale[c] +
// shift[c], both in fp32 and rounded; sum = bias[c] + sum x * w. Input rows have RoundUp(depth, 4)
// readable bytes.
struct Dense8Args {
  RowsIn input;
  RowsOut output;  // floats
  int32_t depth = 1, columns = 1;
  const void* weights = nullptr;  // PackConv() of a 1x1 convolution
  const int32_t* bias = nullptr;  // FoldBias(); all three padded to kChannelBlock
  const float* scale = nullptr;
  const float* shift = nullptr;
};

// With weights of 4 bits, a scale for each block of the depth. y = sum over the blocks, in their
// order, of (sum of (x - input_zero) * weight) * scale, in single precision, then + shift. Of
// floats, the sum within a block too, in the order of the depth; then input_zero is 0.
struct Dense4Args {
  RowsIn input;    // codes, or floats
  RowsOut output;  // floats
  int32_t depth = 1, columns = 1;
  int32_t block = 8;  // a multiple of 8
  int32_t input_zero = 0;
  const void* weights = nullptr;  // PackConv4() of a 1x1 convolution
  const float* scale = nullptr;   // [blocks][columns, padded to kChannelBlock]
  const float* shift = nullptr;   // padded as well
};

// Each channel with its own kernel_h x kernel_w weights: groups = channels, in_channels =
// out_channels = 1.
struct Depthwise8Args {
  ConvShape shape;
  ImageIn input;
  ImageOut output;
  const void* weights = nullptr;  // PackDepthwise()
  uint8_t pad_value = 0;
  Requantise requantise;
};

enum class PoolKind : uint8_t { kMax, kAverage };

// Maximum: bytes, input and output of one scale. Average: y = clamp(rne(float(sum (x - zero_in)) *
// m) + zero_out, low, high) with m = scale_in / (scale_out * float(count)) in fp32. What lies
// outside takes no part, but counts where count_padding says so.
struct PoolArgs {
  PoolKind kind = PoolKind::kMax;
  ConvShape shape;  // groups is the number of channels; in_channels and out_channels 1
  ImageIn input;
  ImageOut output;
  bool count_padding = false;
  // For bytes only.
  float scale_in = 1, scale_out = 1;
  int32_t zero_in = 0, zero_out = 0, low = 0, high = 255;
  const uint8_t* table = nullptr;
};

// float x = a[row * a.stride + column * column_stride]: y = clamp(rne(x / scale) + zero_point, 0,
// 255), not a number gives 0. A column stride other than 4 reads [N, C, H, W].
struct QuantiseArgs {
  RowsIn input;
  int64_t column_stride = 4;
  RowsOut output;
  int32_t columns = 0;
  float scale = 1;
  int32_t zero_point = 0;
};
struct DequantiseArgs {
  RowsIn input;
  RowsOut output;
  int64_t column_stride = 4;  // of the output
  int32_t columns = 0;
  float scale = 1;
  int32_t zero_point = 0;
};

struct Add8Args {
  RowsIn a, b;
  RowsOut output;
  int32_t columns = 0;
  Add8 add;
};
// b.stride = 0 is a gate for each channel (squeeze-excite), image by image.
struct Multiply8Args {
  RowsIn a, b;
  RowsOut output;
  int32_t columns = 0;
  Multiply8 multiply;
};
struct Lookup8Args {
  RowsIn input;
  RowsOut output;
  int32_t columns = 0;
  const uint8_t* table = nullptr;
};
struct CopyArgs {
  RowsIn input;
  RowsOut output;
  int32_t bytes = 0;  // of a row
};

// Output pixel (y, x) is input pixel (source_y[y], source_x[x]), whatever the rule that made the
// maps.
struct ResizeNearestArgs {
  int32_t batch = 1, out_h = 1, out_w = 1;
  int32_t pixel_bytes = 1;  // channels * bytes of an element
  const int32_t* source_y = nullptr;
  const int32_t* source_x = nullptr;
  ImageIn input;
  ImageOut output;
};

// Bytes: y = clamp(rne(float(e) * (1 / (scale_out * float(sum e)))) + zero_out) with e = exponent[x
// + 255 - greatest x of the row], SoftmaxTable(). Floats: exp(x - greatest) / sum.
struct SoftmaxArgs {
  RowsIn input;
  RowsOut output;
  int32_t columns = 0;
  const int32_t* exponent = nullptr;  // 256 values, bytes only
  float scale_out = 1.0f / 256;
  int32_t zero_out = 0;
};

// y = (x - mean) / sqrt(variance + epsilon) * scale + shift over a row of floats.
struct LayerNormArgs {
  RowsIn input;
  RowsOut output;
  int32_t columns = 0;
  const float* scale = nullptr;  // null: 1
  const float* shift = nullptr;  // null: 0
  float epsilon = 1e-5f;
};

// On floats: what follows a sum.
enum class Activation : uint8_t {
  kNone,
  kClamp,
  kSigmoid,
  kSilu,
  kHardSigmoid,
  kHardSwish,
  kTanh,
  kGelu,
  kLeakyRelu
};
struct Activate {
  Activation kind = Activation::kNone;
  float low = 0, high = 0;  // kClamp; kLeakyRelu: low is the factor of what is below 0
};

struct ConvF32Args {
  ConvShape shape;
  ImageIn input;
  ImageOut output;
  const float* weights = nullptr;  // PackConvF32(), or PackDepthwiseF32() for the depthwise kernel
  const float* bias = nullptr;     // padded, a group after another; PadChannels()
  Activate activate;
  ImageIn residual;  // added before the activation; no data: none
};

enum class Binary : uint8_t { kAdd, kSubtract, kMultiply, kDivide, kMaximum, kMinimum };
struct BinaryF32Args {
  Binary kind = Binary::kAdd;
  RowsIn a, b;
  RowsOut output;
  int32_t columns = 0;
  Activate activate;
};
// output[i] += row i of a matrix times a vector.
struct AddDotsF32Args {
  const float* matrix = nullptr;
  int64_t stride = 0;  // floats from row to row
  const float* vector = nullptr;
  int32_t columns = 0;
  float* output = nullptr;
};
struct ActivateF32Args {
  RowsIn input;
  RowsOut output;
  int32_t columns = 0;
  Activate activate;
};

}  // namespace ds::engine
