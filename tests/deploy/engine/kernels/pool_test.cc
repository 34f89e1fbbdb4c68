// Pools against the definition, one element at a time.
#include <limits>

#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

class PoolTest : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(All, PoolTest, AllSets(), SetName);

struct Case {
  ConvShape shape;
  bool count_padding = false;
};

ConvShape Window(int32_t channels, int32_t in_h, int32_t in_w, int32_t kernel_h, int32_t kernel_w,
                 int32_t stride_h, int32_t stride_w, int32_t pad_top, int32_t pad_left,
                 int32_t pad_bottom, int32_t pad_right) {
  ConvShape s{.batch = 2, .in_h = in_h, .in_w = in_w, .groups = channels};
  s.kernel_h = kernel_h;
  s.kernel_w = kernel_w;
  s.stride_h = stride_h;
  s.stride_w = stride_w;
  s.pad_top = pad_top;
  s.pad_left = pad_left;
  s.out_h = (in_h + pad_top + pad_bottom - kernel_h) / stride_h + 1;
  s.out_w = (in_w + pad_left + pad_right - kernel_w) / stride_w + 1;
  return s;
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (int32_t channels : {1, 3, 16, 17, 63, 64, 65, 300}) {
    cases.push_back({Window(channels, 7, 9, 2, 2, 2, 2, 0, 0, 0, 0)});
    cases.push_back({Window(channels, 8, 5, 3, 3, 2, 2, 1, 1, 1, 1)});
    cases.push_back({Window(channels, 8, 5, 3, 2, 1, 2, 0, 1, 2, 0), channels % 2 == 0});
    cases.push_back({Window(channels, 6, 6, 5, 5, 1, 1, 2, 2, 2, 2), channels % 2 == 1});
    cases.push_back({Window(channels, 7, 7, 7, 7, 1, 1, 0, 0, 0, 0)});
    // More than 16 bits hold the sum of.
    cases.push_back({Window(channels, 25, 26, 25, 26, 1, 1, 0, 0, 0, 0)});
    ConvShape wide = Window(channels, 9, 9, 2, 2, 1, 1, 0, 0, 0, 0);
    wide.dilation_h = 2, wide.dilation_w = 3, wide.out_h = 7, wide.out_w = 6;
    cases.push_back({wide, true});
  }
  return cases;
}

// Calls each(element) for the elements of the input that lie in a window.
template <typename T, typename Each>
int32_t ForInside(const ConvShape& s, const std::vector<T>& in, int64_t pixel, int32_t row,
                  int32_t x, int32_t channel, Each each) {
  int32_t inside = 0;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const int32_t iy = row % s.out_h * s.stride_h - s.pad_top + ky * s.dilation_h;
      const int32_t ix = x * s.stride_w - s.pad_left + kx * s.dilation_w;
      if (iy < 0 || ix < 0 || iy >= s.in_h || ix >= s.in_w) continue;
      ++inside;
      each(
          in[static_cast<size_t>(((row / s.out_h * s.in_h + iy) * s.in_w + ix) * pixel + channel)]);
    }
  }
  return inside;
}

template <typename T>
PoolArgs ArgsOf(const Case& c, PoolKind kind, const std::vector<T>& in, int64_t pixel,
                std::vector<T>& out) {
  const ConvShape& s = c.shape;
  const int64_t size = sizeof(T), from = pixel * size, to = s.groups * size;
  PoolArgs args;
  args.kind = kind;
  args.shape = s;
  args.input = {in.data(), from, from * s.in_w, from * s.in_w * s.in_h};
  args.output = {out.data(), to, to * s.out_w, to * s.out_w * s.out_h};
  args.count_padding = c.count_padding;
  return args;
}

TEST_P(PoolTest, PoolsOfBytesAreExactForEverySplit) {
  CounterRandom random(kSeed, 1);
  for (const Case& c : Cases()) {
    const ConvShape& s = c.shape;
    const int64_t pixel = s.groups + 3;
    const std::vector<uint8_t> in = RandomBytes(s.batch * s.in_h * s.in_w * pixel, random);
    const std::vector<uint8_t> table = RandomBytes(256, random);
    for (PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
      std::vector<uint8_t> out(static_cast<size_t>(s.Pixels() * s.groups), kCanary), expected(out);
      PoolArgs args = ArgsOf(c, kind, in, pixel, out);
      args.scale_in = 0.031f, args.scale_out = 0.017f;
      args.zero_in = 101, args.zero_out = 60, args.low = 5, args.high = 250;
      if (s.groups % 3 == 0) args.table = table.data();
      for (int32_t i = 0; i < static_cast<int32_t>(out.size()); ++i) {
        const int32_t row = i / s.groups / s.out_w, x = i / s.groups % s.out_w;
        int32_t sum = 0, greatest = 0;
        const int32_t inside = ForInside(s, in, pixel, row, x, i % s.groups, [&](uint8_t value) {
          sum += value - args.zero_in;
          greatest = std::max<int32_t>(greatest, value);
        });
        const int32_t count = c.count_padding ? s.kernel_h * s.kernel_w : inside;
        const volatile float below = args.scale_out * static_cast<float>(count);
        const volatile float factor = args.scale_in / below;
        const volatile float value = static_cast<float>(sum) * factor;
        uint8_t byte = kind == PoolKind::kMax
                           ? static_cast<uint8_t>(greatest)
                           : OracleByte(value, args.zero_out, args.low, args.high);
        expected[static_cast<size_t>(i)] = args.table ? table[byte] : byte;
      }
      RunSplit(s.batch * s.out_h, random, [&](Range rows) { kernels_->pool8(args, rows); });
      ASSERT_EQ(out, expected) << s.groups << " channels, kernel " << s.kernel_h;
    }
  }
}

TEST_P(PoolTest, PoolsOfFloatsAreNearDoubles) {
  CounterRandom random(kSeed, 2);
  for (const Case& c : Cases()) {
    const ConvShape& s = c.shape;
    const int64_t pixel = s.groups + 1;
    const std::vector<float> in = RandomFloats(s.batch * s.in_h * s.in_w * pixel, 3, random);
    for (PoolKind kind : {PoolKind::kMax, PoolKind::kAverage}) {
      std::vector<float> out(static_cast<size_t>(s.Pixels() * s.groups), 99.0f);
      const PoolArgs args = ArgsOf(c, kind, in, pixel, out);
      RunSplit(s.batch * s.out_h, random, [&](Range rows) { kernels_->pool_f32(args, rows); });
      for (int32_t i = 0; i < static_cast<int32_t>(out.size()); ++i) {
        const int32_t row = i / s.groups / s.out_w, x = i / s.groups % s.out_w;
        double sum = 0, greatest = -std::numeric_limits<double>::infinity();
        const int32_t inside = ForInside(s, in, pixel, row, x, i % s.groups, [&](float value) {
          sum += value;
          greatest = std::max<double>(greatest, value);
        });
        const double expected = kind == PoolKind::kMax
                                    ? greatest
                                    : sum / (c.count_padding ? s.kernel_h * s.kernel_w : inside);
        ASSERT_NEAR(out[static_cast<size_t>(i)], expected, 1e-5 * 3) << s.groups << " channels";
      }
    }
  }
}

}  // namespace
}  // namespace ds::engine
