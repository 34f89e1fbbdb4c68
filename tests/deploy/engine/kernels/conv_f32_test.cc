// Convolutions of floats against doubles.
#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

class ConvF32Test : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(All, ConvF32Test, AllSets(), SetName);

ConvShape Conv(int32_t size, int32_t in, int32_t out, int32_t kernel, int32_t stride,
               int32_t dilation, int32_t pad, int32_t groups = 1, int32_t batch = 1) {
  const auto extent = [&](int32_t from) {
    return (from + 2 * pad - dilation * (kernel - 1) - 1) / stride + 1;
  };
  return {.batch = batch,
          .in_h = size,
          .in_w = size + 2,
          .in_channels = in,
          .out_h = extent(size),
          .out_w = extent(size + 2),
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
}

struct Problem {
  ConvShape shape;
  bool depthwise;
  std::vector<float> input, weights, bias, residual;
  int64_t in_pixel, out_pixel, channels;

  Problem(const ConvShape& s, bool is_depthwise, CounterRandom& random)
      : shape(s), depthwise(is_depthwise) {
    channels = int64_t{s.groups} * s.out_channels;
    in_pixel = int64_t{s.groups} * s.in_channels + 2;
    out_pixel = channels + 1;
    input = RandomFloats(s.batch * s.in_h * s.in_w * in_pixel, 1, random);
    weights = RandomFloats(channels * s.Depth(), 1, random);
    bias = RandomFloats(channels, 1, random);
    residual = RandomFloats(s.Pixels() * channels, 1, random);
  }

  // The sum, and the sum of magnitudes that tolerances go by.
  std::pair<double, double> Sum(int32_t row, int64_t channel) const {
    const ConvShape& s = shape;
    const int64_t group = channel / s.out_channels;
    const int32_t image = row / (s.out_h * s.out_w), y = row / s.out_w % s.out_h;
    double sum = bias[static_cast<size_t>(channel)], size = std::abs(sum);
    for (int32_t tap = 0; tap < s.kernel_h * s.kernel_w; ++tap) {
      const int32_t iy = y * s.stride_h - s.pad_top + tap / s.kernel_w * s.dilation_h;
      const int32_t ix = row % s.out_w * s.stride_w - s.pad_left + tap % s.kernel_w * s.dilation_w;
      if (iy < 0 || ix < 0 || iy >= s.in_h || ix >= s.in_w) continue;
      const int64_t pixel = ((int64_t{1} * image * s.in_h + iy) * s.in_w + ix) * in_pixel;
      for (int32_t k = 0; k < s.in_channels; ++k) {
        const int64_t w = depthwise ? tap * s.groups + channel
                                    : (channel * s.kernel_h * s.kernel_w + tap) * s.in_channels + k;
        const double product =
            double{input[static_cast<size_t>(pixel + group * s.in_channels + k)]} *
            weights[static_cast<size_t>(w)];
        sum += product;
        size += std::abs(product);
      }
    }
    return {sum, size};
  }

  ConvF32Args Args(std::vector<float>& out, bool add, bool clamp) const {
    const ConvShape& s = shape;
    const int64_t in = in_pixel * 4, to = out_pixel * 4, from = channels * 4;
    ConvF32Args args;
    args.shape = s;
    args.input = {input.data(), in, in * s.in_w, in * s.in_w * s.in_h};
    args.output = {out.data(), to, to * s.out_w, to * s.out_w * s.out_h};
    if (add) args.residual = {residual.data(), from, from * s.out_w, from * s.out_w * s.out_h};
    if (clamp) args.activate = {Activation::kClamp, -0.5f, 2.0f};
    return args;
  }

  void Check(const std::vector<float>& out, bool add, bool clamp) const {
    for (int32_t row = 0; row < shape.Pixels(); ++row) {
      for (int64_t c = 0; c < channels; ++c) {
        auto [want, size] = Sum(row, c);
        if (add) want += residual[static_cast<size_t>(row * channels + c)];
        if (clamp) want = std::min(std::max(want, -0.5), 2.0);
        ASSERT_NEAR(out[static_cast<size_t>(row * out_pixel + c)], want, 1e-5 * (1 + size))
            << "row " << row << " channel " << c << " depth " << shape.Depth() << " of "
            << channels;
      }
      ASSERT_EQ(out[static_cast<size_t>(row * out_pixel + channels)], 99.0f);
    }
  }
};

TEST_P(ConvF32Test, ConvolutionOfFloatsIsNearDoubles) {
  std::vector<ConvShape> shapes = {
      Conv(7, 3, 16, 3, 2, 1, 1),       Conv(9, 3, 20, 7, 2, 1, 3),
      Conv(6, 8, 40, 3, 1, 1, 1),       Conv(8, 5, 33, 3, 1, 2, 2),
      Conv(5, 16, 16, 3, 1, 1, 1, 3),   Conv(5, 4, 34, 1, 2, 1, 0, 2),
      Conv(6, 17, 7, 2, 1, 1, 0, 1, 3), Conv(3, 70, 32, 3, 1, 1, 1, 2, 2),
      Conv(1, 4, 8, 3, 1, 1, 1)};
  for (const ConvShape& large :
       {Conv(20, 16, 33, 3, 1, 1, 1), Conv(25, 3, 17, 3, 2, 1, 1), Conv(19, 2, 18, 7, 1, 1, 3)})
    shapes.push_back(large);  // several blocks of tiles
  for (int32_t m : {1, 2, 5, 6, 7, 13, 14, 15, 29}) {
    for (int32_t k : {1, 3, 8, 63}) {
      for (int32_t n : {1, 15, 16, 17, 31, 33, 49, 65})
        shapes.push_back({.in_w = m, .in_channels = k, .out_w = m, .out_channels = n});
    }
  }
  CounterRandom random(kSeed, 31);
  int32_t number = 0;
  for (const ConvShape& s : shapes) {
    const Problem p(s, false, random);
    const bool add = number % 2 == 0, clamp = number % 3 == 0;
    ++number;
    Guarded packed(PackedConvF32Floats(kernels_->isa, s) * 4);
    float* weights = reinterpret_cast<float*>(packed.get());
    PackConvF32(kernels_->isa, s, p.weights.data(), weights);
    std::vector<float> bias(static_cast<size_t>(PaddedChannels(s)));
    PadChannels(s, p.bias.data(), bias.data());
    std::vector<float> out(static_cast<size_t>(s.Pixels() * p.out_pixel), 99.0f);
    ConvF32Args args = p.Args(out, add, clamp);
    args.weights = weights;
    args.bias = bias.data();
    Guarded scratch(kernels_->conv_scratch(s));
    RunSplit(s.Pixels(), random, [&](Range rows) {
      for (int32_t column = 0; column < s.out_channels; column += kChannelBlock) {
        kernels_->conv_f32(args, rows, {column, std::min(column + kChannelBlock, s.out_channels)},
                           scratch.get());
      }
    });
    ASSERT_NO_FATAL_FAILURE(p.Check(out, add, clamp));
  }
}

TEST_P(ConvF32Test, DepthwiseOfFloatsIsNearDoubles) {
  CounterRandom random(kSeed, 32);
  int32_t number = 0;
  for (int32_t channels : {1, 3, 16, 31, 64, 65, 300}) {
    for (int32_t kernel : {1, 3, 5}) {
      for (int32_t stride : {1, 2}) {
        for (int32_t dilation : {1, 2}) {
          const ConvShape s =
              Conv(8, 1, 1, kernel, stride, dilation, kernel / 2, channels, 1 + number % 2);
          if (s.out_h < 1) continue;
          const Problem p(s, true, random);
          const bool add = number % 2 == 0, clamp = number % 3 == 0;
          ++number;
          Guarded packed(PackedDepthwiseF32Floats(kernels_->isa, s) * 4);
          float* weights = reinterpret_cast<float*>(packed.get());
          PackDepthwiseF32(kernels_->isa, s, p.weights.data(), weights);
          std::vector<float> bias(static_cast<size_t>(PaddedDepthwiseChannels(s)));
          PadDepthwiseChannels(s, p.bias.data(), bias.data());
          std::vector<float> out(static_cast<size_t>(s.Pixels() * p.out_pixel), 99.0f);
          ConvF32Args args = p.Args(out, add, clamp);
          args.weights = weights;
          args.bias = bias.data();
          RunSplit(s.batch * s.out_h, random,
                   [&](Range rows) { kernels_->depthwise_f32(args, rows); });
          ASSERT_NO_FATAL_FAILURE(p.Check(out, add, clamp));
        }
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
