// Convolutions of every instruction set against sums written down naively, exactly.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

// What bytes are like: any, the ends of their range, small ones with an end now and then, or each
// channel in a band of its own, with weights of which some steps are large.
enum class Values { kAny, kExtreme, kRare, kBands };

struct Case {
  ConvShape shape;
  Values values = Values::kAny;
  int32_t bits = 8;
  bool add = false, table = false;
  bool steep = false;  // multipliers about 1 and 1e6, and a sum's operand with another zero point
  int32_t zero_x = 128, zero_y = 7, low = 0, high = 255;
  int64_t pixel_slack = 0;  // bytes between pixels that belong to another tensor
};

std::vector<uint8_t> Bytes(int64_t count, int64_t pixel, Values values, CounterRandom& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count + kReadSlack));
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint8_t& byte = bytes[i];
    const auto channel = static_cast<int64_t>(i) % pixel;
    byte = static_cast<uint8_t>(random.NextUint32());
    if (values == Values::kBands)
      byte = static_cast<uint8_t>(channel * 37 % 100 + byte % (channel * 53 % 150 + 1));
    if (values == Values::kExtreme) byte = byte & 1 ? 255 : 0;
    if (values == Values::kRare) byte = byte == 0 ? 255 : byte % 64;
  }
  return bytes;
}

std::vector<int8_t> Weights(int64_t count, const Case& c, CounterRandom& random) {
  const int32_t least = c.bits == 8 ? -128 : -8, greatest = -least - 1;
  std::vector<int8_t> weights(static_cast<size_t>(count));
  for (int8_t& weight : weights) {
    const int32_t any =
        least + static_cast<int32_t>(random.NextBelow(static_cast<uint32_t>(greatest - least + 1)));
    weight = static_cast<int8_t>(c.values == Values::kExtreme ? (any & 1 ? greatest : least) : any);
    const auto step = (&weight - weights.data()) / 4;
    if (c.values == Values::kBands) weight = static_cast<int8_t>(weight / (step % 5 + 1));
  }
  return weights;
}

uint8_t NaiveByte(double value, int32_t zero, int32_t low, int32_t high) {
  const double rounded = std::nearbyint(value) + zero;
  return static_cast<uint8_t>(std::min<double>(std::max<double>(rounded, low), high));
}

// One convolution with all that it reads, and what it should write.
struct Problem {
  Case what;
  bool depthwise;
  std::vector<uint8_t> input, residual, expected;
  std::vector<int8_t> weights;
  std::vector<int32_t> bias;
  std::vector<float> multiplier;
  uint8_t table[256];
  Add8 add;
  int64_t in_pixel, out_pixel;

  int64_t InChannels() const { return int64_t{1} * what.shape.groups * what.shape.in_channels; }
  int64_t OutChannels() const { return int64_t{1} * what.shape.groups * what.shape.out_channels; }

  Problem(const Case& c, bool is_depthwise, uint64_t seed) : what(c), depthwise(is_depthwise) {
    CounterRandom random(kSeed, seed);
    const ConvShape& s = c.shape;
    in_pixel = InChannels() + c.pixel_slack;
    out_pixel = OutChannels() + c.pixel_slack;
    input = Bytes(s.batch * s.in_h * s.in_w * in_pixel, in_pixel, c.values, random);
    residual = Bytes(s.Pixels() * OutChannels(), OutChannels(), c.values, random);
    weights = Weights(OutChannels() * s.Depth(), c, random);
    for (int64_t i = 0; i < OutChannels(); ++i) {
      bias.push_back(static_cast<int32_t>(random.NextBelow(200001)) - 100000);
      const float width =
          std::sqrt(static_cast<float>(s.Depth())) * (c.bits == 8 ? 2000.0f : 150.0f);
      multiplier.push_back((0.2f + random.NextFloat()) *
                           (!c.steep ? 100.0f
                            : i % 3  ? 1e4f
                                     : 1e10f) /
                           width);
    }
    for (uint8_t& value : table) value = static_cast<uint8_t>(random.NextUint32());
    add = {.ratio_a = 0.71f,
           .ratio_b = 0.5f,
           .zero_a = c.steep ? 9 : c.zero_y,
           .zero_b = 120,
           .zero_point = 33,
           .low = 2};
    expected.assign(static_cast<size_t>(s.Pixels() * out_pixel), kCanary);
    Expect();
  }

  int64_t Sum(int32_t image, int32_t y, int32_t x, int32_t group, int32_t channel) const {
    const ConvShape& s = what.shape;
    const int64_t out = int64_t{1} * group * s.out_channels + channel;
    int64_t sum = bias[out];
    for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
      for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
        const int32_t iy = y * s.stride_h - s.pad_top + ky * s.dilation_h;
        const int32_t ix = x * s.stride_w - s.pad_left + kx * s.dilation_w;
        if (iy < 0 || ix < 0 || iy >= s.in_h || ix >= s.in_w) continue;
        const int64_t pixel = ((int64_t{1} * image * s.in_h + iy) * s.in_w + ix) * in_pixel;
        for (int32_t k = 0; k < s.in_channels; ++k) {
          const int32_t value = input[pixel + group * s.in_channels + k] - what.zero_x;
          const int64_t tap = ky * s.kernel_w + kx;
          sum += value *
                 weights[depthwise ? tap * s.groups + out
                                   : (out * s.kernel_h * s.kernel_w + tap) * s.in_channels + k];
        }
      }
    }
    return sum;
  }

  void Expect() {
    const ConvShape& s = what.shape;
    for (int32_t row = 0; row < s.Pixels(); ++row) {
      for (int64_t out = 0; out < OutChannels(); ++out) {
        const int64_t sum = Sum(row / (s.out_h * s.out_w), row / s.out_w % s.out_h, row % s.out_w,
                                static_cast<int32_t>(out / s.out_channels),
                                static_cast<int32_t>(out % s.out_channels));
        const volatile float product =
            static_cast<float>(static_cast<int32_t>(sum)) * multiplier[out];
        uint8_t byte = NaiveByte(product, what.zero_y, what.low, what.high);
        if (what.table) byte = table[byte];
        if (what.add) {
          const volatile float a = static_cast<float>(byte - add.zero_a) * add.ratio_a;
          const volatile float b =
              static_cast<float>(residual[row * OutChannels() + out] - add.zero_b) * add.ratio_b;
          const volatile float both = a + b;
          byte = NaiveByte(both, add.zero_point, add.low, add.high);
        }
        expected[row * out_pixel + out] = byte;
      }
    }
  }
};

template <typename Args>
Args ArgsOf(const Problem& p, const Guarded& input, const Guarded& residual,
            const Guarded& guarded_out) {
  uint8_t* out = guarded_out.get();
  const ConvShape& s = p.what.shape;
  Args args;
  args.shape = s;
  args.input = {input.get(), p.in_pixel, p.in_pixel * s.in_w, p.in_pixel * s.in_w * s.in_h};
  args.output = {out, p.out_pixel, p.out_pixel * s.out_w, p.out_pixel * s.out_w * s.out_h};
  args.pad_value = static_cast<uint8_t>(p.what.zero_x);
  args.requantise.zero_point = p.what.zero_y;
  args.requantise.low = p.what.low;
  args.requantise.high = p.what.high;
  if (p.what.table) args.requantise.table = p.table;
  if (p.what.add) args.requantise.add = &p.add;
  const int64_t n = p.OutChannels();
  args.requantise.residual = {residual.get(), n, n * s.out_w, n * s.out_w * s.out_h};
  return args;
}

void RunConv(const Kernels& kernels, const Problem& p, int32_t row_step, int32_t column_step) {
  const ConvShape& s = p.what.shape;
  const bool four = p.what.bits == 4;
  Guarded packed(four ? PackedConv4Bytes(kernels.isa, s)
                      : PackedConvBytes(kernels.isa, s, p.weights.data()));
  if (four)
    PackConv4(kernels.isa, s, p.weights.data(), packed.get());
  else
    PackConv(kernels.isa, s, p.weights.data(), packed.get());
  std::vector<int32_t> bias(static_cast<size_t>(PaddedChannels(s)));
  std::vector<float> multiplier(bias.size());
  ASSERT_TRUE(FoldBias(s, p.weights.data(), p.bias.data(), p.what.zero_x, bias.data()));
  PadChannels(s, p.multiplier.data(), multiplier.data());
  const Guarded input(p.input), residual(p.residual);
  const Guarded out(std::vector<uint8_t>(p.expected.size(), kCanary));
  Conv8Args args = ArgsOf<Conv8Args>(p, input, residual, out);
  args.weights = packed.get();
  args.requantise.bias = bias.data();
  args.requantise.multiplier = multiplier.data();
  Guarded scratch(kernels.conv_scratch(s));
  for (int32_t row = 0; row < s.Pixels(); row += row_step) {
    for (int32_t column = 0; column < s.out_channels; column += column_step) {
      (four ? kernels.conv4 : kernels.conv8)(
          args, {row, std::min(row + row_step, s.Pixels())},
          {column, std::min(column + column_step, s.out_channels)}, scratch.get());
    }
  }
  ASSERT_EQ(std::vector<uint8_t>(out.get(), out.get() + p.expected.size()), p.expected);
}

void RunDepthwise(const Kernels& kernels, const Problem& p, int32_t row_step) {
  const ConvShape& s = p.what.shape;
  Guarded packed(PackedDepthwiseBytes(kernels.isa, s));
  PackDepthwise(kernels.isa, s, p.weights.data(), packed.get());
  std::vector<int32_t> bias(static_cast<size_t>(PaddedDepthwiseChannels(s)));
  std::vector<float> multiplier(bias.size());
  ASSERT_TRUE(FoldDepthwiseBias(s, p.weights.data(), p.bias.data(), p.what.zero_x, bias.data()));
  PadDepthwiseChannels(s, p.multiplier.data(), multiplier.data());
  const Guarded input(p.input), residual(p.residual);
  const Guarded out(std::vector<uint8_t>(p.expected.size(), kCanary));
  Depthwise8Args args = ArgsOf<Depthwise8Args>(p, input, residual, out);
  args.weights = packed.get();
  args.requantise.bias = bias.data();
  args.requantise.multiplier = multiplier.data();
  Guarded scratch(kernels.depthwise_scratch(s));
  for (int32_t row = 0; row < s.batch * s.out_h; row += row_step)
    kernels.depthwise8(args, {row, std::min(row + row_step, s.batch * s.out_h)}, scratch.get());
  ASSERT_EQ(std::vector<uint8_t>(out.get(), out.get() + p.expected.size()), p.expected);
}

int32_t OutSize(int32_t in, int32_t kernel, int32_t stride, int32_t dilation, int32_t pad) {
  return (in + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
}

ConvShape Conv(int32_t size, int32_t in, int32_t out, int32_t kernel, int32_t stride,
               int32_t dilation, int32_t pad, int32_t groups = 1, int32_t batch = 1) {
  ConvShape s{.batch = batch,
              .in_h = size,
              .in_w = size + 2,
              .in_channels = in,
              .out_channels = out,
              .groups = groups,
              .kernel_h = kernel,
              .kernel_w = kernel,
              .stride_h = stride,
              .stride_w = stride,
              .dilation_h = dilation,
              .dilation_w = dilation,
              .pad_top = pad,
              .pad_left = pad};
  s.out_h = OutSize(s.in_h, kernel, stride, dilation, pad);
  s.out_w = OutSize(s.in_w, kernel, stride, dilation, pad);
  return s;
}

ConvShape Product(int32_t m, int32_t k, int32_t n) {
  return {.in_w = m, .in_channels = k, .out_w = m, .out_channels = n};
}

std::vector<Case> ConvCases() {
  std::vector<Case> cases;
  for (int32_t m : {1, 2, 7, 13, 14, 15, 29}) {
    for (int32_t k : {1, 3, 4, 5, 8, 63, 64, 66, 100}) {
      for (int32_t n : {1, 15, 16, 17, 31, 32, 33, 48, 49, 65})
        cases.push_back({.shape = Product(m, k, n)});
    }
  }
  const ConvShape shapes[] = {Conv(7, 3, 16, 3, 2, 1, 1),        Conv(9, 3, 20, 7, 2, 1, 3),
                              Conv(5, 1, 3, 5, 1, 1, 2),         Conv(6, 8, 40, 3, 1, 1, 1),
                              Conv(8, 5, 33, 3, 1, 2, 2),        Conv(5, 16, 16, 3, 1, 1, 1, 3),
                              Conv(5, 4, 34, 1, 2, 1, 0, 2),     Conv(6, 17, 7, 2, 1, 1, 0, 1, 3),
                              Conv(3, 70, 32, 3, 1, 1, 1, 2, 2), Conv(1, 4, 8, 3, 1, 1, 1)};
  for (const ConvShape& shape : shapes) {
    cases.push_back({.shape = shape});
    cases.push_back(
        {.shape = shape, .zero_x = 0, .zero_y = 0, .low = 10, .high = 200, .pixel_slack = 5});
    cases.push_back({.shape = shape, .values = Values::kExtreme, .zero_x = 255, .zero_y = 255});
    cases.push_back({.shape = shape, .add = true, .table = true, .pixel_slack = 3});
  }
  // Several blocks of tiles: read in place, through pointers, and gathered.
  for (const ConvShape& shape :
       {Product(300, 20, 50), Conv(20, 16, 33, 3, 1, 1, 1), Conv(17, 24, 20, 3, 1, 2, 2, 2, 2),
        Conv(25, 3, 17, 3, 2, 1, 1), Conv(19, 15, 18, 7, 1, 1, 3), Conv(27, 8, 16, 1, 2, 1, 0)}) {
    cases.push_back({.shape = shape, .add = true, .pixel_slack = 1});
    cases.push_back({.shape = shape, .values = Values::kExtreme, .table = true});
    // Inputs as behind a ReLU, for sets that then take another way.
    cases.push_back({.shape = shape, .add = true, .zero_x = 0, .pixel_slack = 2});
    cases.push_back({.shape = shape, .values = Values::kExtreme, .zero_x = 3});
    cases.push_back({.shape = shape, .values = Values::kRare, .table = true, .zero_x = 0});
    // Steps that go together and such as do not.
    cases.push_back({.shape = shape, .values = Values::kBands, .zero_x = 90});
    cases.push_back({.shape = shape, .values = Values::kBands, .add = true, .steep = true});
    cases.push_back({.shape = shape, .values = Values::kBands, .steep = true, .high = 200});
  }
  for (int32_t i = 0; i < 2; ++i) {
    const Case c{.shape = Product(15, 4608, 33),
                 .values = i ? Values::kExtreme : Values::kAny,
                 .add = i == 1};
    cases.push_back(c);
  }
  return cases;
}

class ConvTest : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(All, ConvTest, AllSets(), SetName);

TEST_P(ConvTest, ConvolutionIsExactForEverySplit) {
  uint64_t number = 0;
  for (Case c : ConvCases()) {
    for (int32_t bits : {8, 4}) {
      c.bits = bits;
      const Problem problem(c, false, ++number);
      SCOPED_TRACE(testing::Message()
                   << "case " << number << " bits " << bits << " depth " << c.shape.Depth()
                   << " out " << c.shape.out_channels << " pixels " << c.shape.Pixels());
      ASSERT_NO_FATAL_FAILURE(RunConv(*kernels_, problem, c.shape.Pixels(), c.shape.out_channels));
      if (number % 5 == 0) {
        ASSERT_NO_FATAL_FAILURE(RunConv(*kernels_, problem, 3, kChannelBlock));
      }
    }
  }
}

// Shapes that a set may do by fewer products than the plain sum's, whole and cut within lines.
TEST_P(ConvTest, ThreeByThreeIsExactForEverySplit) {
  uint64_t number = 3000;
  for (const ConvShape& shape :
       {Conv(7, 32, 33, 3, 1, 1, 1), Conv(8, 48, 40, 3, 1, 1, 1, 1, 2),
        Conv(13, 32, 65, 3, 1, 1, 0), Conv(6, 64, 50, 3, 1, 1, 2, 1, 3),
        Conv(30, 32, 32, 3, 1, 1, 1), Conv(7, 80, 32, 3, 1, 1, 1), Conv(6, 1024, 32, 3, 1, 1, 1),
        Conv(3, 32, 32, 3, 1, 1, 1), Conv(8, 40, 32, 3, 1, 1, 1), Conv(9, 144, 33, 3, 1, 1, 1),
        Conv(12, 16, 16, 3, 1, 1, 1), Conv(10, 272, 48, 3, 1, 1, 1)}) {
    for (int32_t bits : {8, 4}) {
      Case c{.shape = shape, .bits = bits};
      c.values = ++number % 2 ? Values::kExtreme : Values::kAny;
      c.add = number % 3 == 0;
      c.table = number % 4 == 0;
      c.pixel_slack = number % 5;
      c.zero_x = number % 7 == 0 ? 255 : 3;
      const Problem problem(c, false, number);
      SCOPED_TRACE(testing::Message() << "case " << number << " bits " << bits << " channels "
                                      << shape.in_channels << " pixels " << shape.Pixels());
      for (int32_t step : {shape.Pixels(), 2 * shape.out_w, shape.Pixels() * 2 / 5 + 1})
        ASSERT_NO_FATAL_FAILURE(RunConv(*kernels_, problem, step, shape.out_channels));
      ASSERT_NO_FATAL_FAILURE(RunConv(*kernels_, problem, shape.Pixels(), kChannelBlock));
    }
  }
}

TEST_P(ConvTest, DepthwiseIsExactForEverySplit) {
  uint64_t number = 1000;
  for (int32_t channels : {1, 3, 16, 31, 33, 64, 65, 130, 300}) {
    for (int32_t kernel : {1, 2, 3, 5, 7}) {
      for (int32_t stride : {1, 2}) {
        for (int32_t dilation : {1, 2}) {
          Case c{.shape = Conv(9, 1, 1, kernel, stride, dilation, kernel / 2 * dilation, channels,
                               1 + number % 2)};
          c.values = number % 3 ? Values::kAny : Values::kExtreme;
          c.add = number % 4 == 0;
          c.table = number % 5 == 0;
          c.pixel_slack = number % 7;
          const Problem problem(c, true, ++number);
          SCOPED_TRACE(testing::Message() << "channels " << channels << " kernel " << kernel
                                          << " stride " << stride << " dilation " << dilation);
          ASSERT_NO_FATAL_FAILURE(RunDepthwise(*kernels_, problem, c.shape.batch * c.shape.out_h));
          ASSERT_NO_FATAL_FAILURE(RunDepthwise(*kernels_, problem, 2));
        }
      }
    }
  }
}

// Rows longer than what is made ready at a time, and kernels larger than what is.
TEST_P(ConvTest, DepthwiseIsExactForLongRowsAndLargeKernels) {
  uint64_t number = 2000;
  struct Long {
    int32_t in_w, channels, kernel, stride, dilation;
  };
  for (const Long& what : {Long{500, 70, 3, 1, 1}, Long{300, 40, 5, 2, 1}, Long{700, 10, 3, 1, 3},
                           Long{260, 64, 7, 3, 2}, Long{40, 33, 17, 1, 1}, Long{900, 3, 3, 2, 400},
                           Long{300, 17, 4, 1, 1}}) {
    ConvShape shape = Conv(3, 1, 1, what.kernel, what.stride, what.dilation,
                           what.kernel / 2 * what.dilation, what.channels);
    shape.in_w = what.in_w;
    shape.out_w = OutSize(what.in_w, what.kernel, what.stride, what.dilation, shape.pad_left);
    Case c{.shape = shape, .values = number % 2 ? Values::kAny : Values::kExtreme};
    c.add = number % 3 == 0;
    const Problem problem(c, true, ++number);
    SCOPED_TRACE(testing::Message() << "width " << what.in_w << " kernel " << what.kernel);
    ASSERT_NO_FATAL_FAILURE(RunDepthwise(*kernels_, problem, shape.out_h));
    ASSERT_NO_FATAL_FAILURE(RunDepthwise(*kernels_, problem, 1));
  }
}

}  // namespace
}  // namespace ds::engine
