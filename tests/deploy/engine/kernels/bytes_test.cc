// Element-wise kernels on bytes, and the ways in and out of them, exactly.
#include <cstring>
#include <limits>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

class BytesTest : public KernelsTest {};
INSTANTIATE_TEST_SUITE_P(All, BytesTest, AllSets(), SetName);

constexpr int32_t kRows = 5;

// Rows of `columns` bytes with `slack` between them that nobody may write.
struct Rows {
  Rows(int32_t columns, int32_t slack)
      : stride(columns + slack), bytes(static_cast<size_t>(kRows * stride), kCanary) {}
  RowsOut Out() { return {bytes.data(), stride}; }
  uint8_t& At(int32_t row, int32_t column) {
    return bytes[static_cast<size_t>(row * stride + column)];
  }
  int64_t stride;
  std::vector<uint8_t> bytes;
};

TEST_P(BytesTest, QuantiseRoundsTiesToEvenAndBoundsTheRest) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> values = {0,        0.25f,     0.75f,    1.25f,  -0.25f,
                                     -0.75f,   -1.25f,    1e9f,     -1e9f,  3e38f,
                                     infinity, -infinity, 0.24999f, 1e-40f, std::nanf("")};
  // Over 0.5: 0, halves, ...
  const std::vector<uint8_t> expected = {10, 10, 12, 12, 10, 8, 8, 255, 0, 255, 255, 0, 10, 10, 0};
  for (size_t repeat : {size_t{1}, size_t{9}}) {
    std::vector<float> in;
    std::vector<uint8_t> want;
    for (size_t i = 0; i < repeat; ++i) {
      in.insert(in.end(), values.begin(), values.end());
      want.insert(want.end(), expected.begin(), expected.end());
    }
    std::vector<uint8_t> out(in.size());
    QuantiseArgs args{.input = {in.data(), 0},
                      .output = {out.data(), 0},
                      .columns = static_cast<int32_t>(in.size()),
                      .scale = 0.5f,
                      .zero_point = 10};
    kernels_->quantise(args, {0, 1});
    EXPECT_EQ(out, want);
  }
}

TEST_P(BytesTest, QuantiseAndDequantiseReadEitherLayout) {
  CounterRandom random(kSeed, 11);
  for (int32_t columns : kWidths) {
    for (bool planes : {false, true}) {
      // As planes, an element of the next column lies kRows floats further on.
      const int64_t column_stride = planes ? kRows * 4 : 4, row_stride = planes ? 4 : columns * 4;
      const std::vector<float> in = RandomFloats(int64_t{kRows} * columns, 5, random);
      const auto place = [&](int32_t row, int32_t column) {
        return static_cast<size_t>(row * row_stride + column * column_stride) / 4;
      };
      Rows out(columns, 2), want(columns, 2);
      const float scale = 0.0371f;
      for (int32_t row = 0; row < kRows; ++row) {
        for (int32_t c = 0; c < columns; ++c) {
          const volatile float quotient = in[place(row, c)] / scale;
          want.At(row, c) = OracleByte(quotient, 120);
        }
      }
      const QuantiseArgs args{.input = {in.data(), row_stride},
                              .column_stride = column_stride,
                              .output = out.Out(),
                              .columns = columns,
                              .scale = scale,
                              .zero_point = 120};
      RunSplit(kRows, random, [&](Range rows) { kernels_->quantise(args, rows); });
      ASSERT_EQ(out.bytes, want.bytes) << columns;

      std::vector<float> back(static_cast<size_t>(kRows * columns + 1), 99.0f);
      const DequantiseArgs opposite{.input = {out.bytes.data(), out.stride},
                                    .output = {back.data(), row_stride},
                                    .column_stride = column_stride,
                                    .columns = columns,
                                    .scale = scale,
                                    .zero_point = 120};
      RunSplit(kRows, random, [&](Range rows) { kernels_->dequantise(opposite, rows); });
      for (int32_t row = 0; row < kRows; ++row) {
        for (int32_t c = 0; c < columns; ++c)
          ASSERT_EQ(back[place(row, c)], static_cast<float>(out.At(row, c) - 120) * scale);
      }
      ASSERT_EQ(back.back(), 99.0f);
    }
  }
}

TEST_P(BytesTest, QuantiseTurnsPlanesIntoPixels) {
  CounterRandom random(kSeed, 17);
  for (int32_t planes : {1, 2, 3, 4, 16, 17}) {
    for (int32_t pixels : {1, 63, 64, 65, 129, 200}) {
      for (int32_t slack : {0, 1}) {
        const std::vector<float> in = RandomFloats(planes * pixels, 5, random);
        const int64_t stride = planes + slack;
        std::vector<uint8_t> out(static_cast<size_t>(pixels * stride), kCanary), want(out);
        for (int32_t i = 0; i < pixels * planes; ++i) {
          const volatile float quotient =
              in[static_cast<size_t>(i % planes * pixels + i / planes)] / 0.05f;
          want[static_cast<size_t>(i / planes * stride + i % planes)] = OracleByte(quotient, 100);
        }
        const QuantiseArgs args{.input = {in.data(), 4},
                                .column_stride = pixels * 4,
                                .output = {out.data(), stride},
                                .columns = planes,
                                .scale = 0.05f,
                                .zero_point = 100};
        RunSplit(pixels, random, [&](Range rows) { kernels_->quantise(args, rows); });
        ASSERT_EQ(out, want) << planes << " planes of " << pixels;
      }
    }
  }
}

TEST_P(BytesTest, AddRoundsProductsAndSumApart) {
  CounterRandom random(kSeed, 12);
  for (int32_t columns : kWidths) {
    const std::vector<uint8_t> a = RandomBytes(kRows * columns, random);
    const std::vector<uint8_t> b = RandomBytes(kRows * columns, random);
    const std::vector<uint8_t> table = RandomBytes(256, random);
    for (int32_t variant = 0; variant < 4; ++variant) {
      Add8 add{.ratio_a = 0.6181f + 0.5f * random.NextFloat(),
               .ratio_b = variant & 1 ? 0.5f : -1.37f,
               .zero_a = 131,
               .zero_b = 9,
               .zero_point = 77,
               .low = 3,
               .high = 251};
      if (variant & 2) add.table = table.data();
      const int64_t stride_b = variant == 1 ? 0 : columns;
      Rows out(columns, 3), want(columns, 3);
      for (int32_t row = 0; row < kRows; ++row) {
        for (int32_t c = 0; c < columns; ++c) {
          const volatile float x =
              static_cast<float>(a[static_cast<size_t>(row * columns + c)] - add.zero_a) *
              add.ratio_a;
          const volatile float y =
              static_cast<float>(b[static_cast<size_t>(row * stride_b + c)] - add.zero_b) *
              add.ratio_b;
          const volatile float sum = x + y;
          const uint8_t byte = OracleByte(sum, add.zero_point, add.low, add.high);
          want.At(row, c) = add.table ? table[byte] : byte;
        }
      }
      const Add8Args args{.a = {a.data(), columns},
                          .b = {b.data(), stride_b},
                          .output = out.Out(),
                          .columns = columns,
                          .add = add};
      RunSplit(kRows, random, [&](Range rows) { kernels_->add8(args, rows); });
      ASSERT_EQ(out.bytes, want.bytes) << columns << " columns, variant " << variant;
    }
  }
}

TEST_P(BytesTest, MultiplyTakesARowOrOneGateForAll) {
  CounterRandom random(kSeed, 13);
  for (int32_t columns : kWidths) {
    const std::vector<uint8_t> a = RandomBytes(kRows * columns, random);
    const std::vector<uint8_t> b = RandomBytes(kRows * columns, random);
    const std::vector<uint8_t> table = RandomBytes(256, random);
    for (int32_t variant = 0; variant < 4; ++variant) {
      Multiply8 how{.ratio = 0.0123f,
                    .zero_a = 100,
                    .zero_b = variant & 1 ? 0 : 200,
                    .zero_point = 128,
                    .low = 1,
                    .high = 254};
      if (variant & 2) how.table = table.data();
      const int64_t stride_b = variant & 1 ? 0 : columns;
      Rows out(columns, 1), want(columns, 1);
      for (int32_t row = 0; row < kRows; ++row) {
        for (int32_t c = 0; c < columns; ++c) {
          const int32_t product = (a[static_cast<size_t>(row * columns + c)] - how.zero_a) *
                                  (b[static_cast<size_t>(row * stride_b + c)] - how.zero_b);
          const volatile float value = static_cast<float>(product) * how.ratio;
          const uint8_t byte = OracleByte(value, how.zero_point, how.low, how.high);
          want.At(row, c) = how.table ? table[byte] : byte;
        }
      }
      const Multiply8Args args{.a = {a.data(), columns},
                               .b = {b.data(), stride_b},
                               .output = out.Out(),
                               .columns = columns,
                               .multiply = how};
      RunSplit(kRows, random, [&](Range rows) { kernels_->multiply8(args, rows); });
      ASSERT_EQ(out.bytes, want.bytes) << columns << " columns, variant " << variant;
    }
  }
}

// One row of gates for many, on the codes that it reads, whatever the ratio makes of a product.
TEST_P(BytesTest, GatesWorkInPlaceOnRowsOfAnyWidth) {
  CounterRandom random(kSeed, 16);
  constexpr int32_t kMany = 9;
  const std::vector<uint8_t> table = RandomBytes(256, random);
  for (const int32_t columns : {1, 16, 31, 32, 33, 63, 64, 72, 120, 1023, 1056, 2100}) {
    for (const float ratio : {0.0f, 0.0007f, -0.01f, 3.0f, 1e6f, 1e30f, -1e30f}) {
      const std::vector<uint8_t> gates = RandomBytes(columns, random);
      const Multiply8 how{.ratio = ratio,
                          .zero_a = 3,
                          .zero_b = columns % 256,
                          .zero_point = columns % 3 * 127,
                          .low = columns % 2 * 10,
                          .high = 255 - columns % 5,
                          .table = columns % 4 == 0 ? table.data() : nullptr};
      std::vector<uint8_t> codes = RandomBytes(kMany * (columns + 7), random), want = codes;
      for (int32_t row = 0; row < kMany; ++row) {
        for (int32_t c = 0; c < columns; ++c) {
          uint8_t& code = want[static_cast<size_t>(row * (columns + 7) + c)];
          const int32_t product =
              (code - how.zero_a) * (gates[static_cast<size_t>(c)] - how.zero_b);
          const volatile float value = static_cast<float>(product) * how.ratio;
          code = OracleByte(value, how.zero_point, how.low, how.high);
          if (how.table) code = table[code];
        }
      }
      const Multiply8Args args{.a = {codes.data(), columns + 7},
                               .b = {gates.data(), 0},
                               .output = {codes.data(), columns + 7},
                               .columns = columns,
                               .multiply = how};
      kernels_->multiply8(args, {0, kMany});
      ASSERT_EQ(codes, want) << columns << " columns, ratio " << ratio;
    }
  }
}

TEST_P(BytesTest, LookupAndCopyTouchTheirRowsOnly) {
  CounterRandom random(kSeed, 14);
  const std::vector<uint8_t> table = RandomBytes(256, random);
  for (int32_t columns : kWidths) {
    const std::vector<uint8_t> in = RandomBytes(kRows * (columns + 2), random);
    Rows found(columns, 4), copied(columns, 4), want_found(columns, 4), want_copied(columns, 4);
    for (int32_t row = 0; row < kRows; ++row) {
      for (int32_t c = 0; c < columns; ++c) {
        want_copied.At(row, c) = in[static_cast<size_t>(row * (columns + 2) + c)];
        want_found.At(row, c) = table[want_copied.At(row, c)];
      }
    }
    const Lookup8Args lookup{.input = {in.data(), columns + 2},
                             .output = found.Out(),
                             .columns = columns,
                             .table = table.data()};
    const CopyArgs copy{
        .input = {in.data(), columns + 2}, .output = copied.Out(), .bytes = columns};
    RunSplit(kRows, random, [&](Range rows) { kernels_->lookup8(lookup, rows); });
    RunSplit(kRows, random, [&](Range rows) { kernels_->copy(copy, rows); });
    ASSERT_EQ(found.bytes, want_found.bytes) << columns;
    ASSERT_EQ(copied.bytes, want_copied.bytes) << columns;
  }
}

TEST_P(BytesTest, SoftmaxOfBytesFollowsItsTable) {
  CounterRandom random(kSeed, 15);
  for (int32_t columns : kWidths) {
    if (columns == 0) continue;
    const std::vector<uint8_t> in = RandomBytes(kRows * columns, random);
    int32_t exponent[256];
    SoftmaxTable(0.04f, columns, exponent);
    Rows out(columns, 2), want(columns, 2);
    for (int32_t row = 0; row < kRows; ++row) {
      const uint8_t* x = in.data() + row * columns;
      const int32_t greatest = *std::max_element(x, x + columns);
      int64_t sum = 0;
      for (int32_t c = 0; c < columns; ++c) sum += exponent[x[c] + 255 - greatest];
      ASSERT_LT(sum, int64_t{1} << 31);
      double real = 0;
      for (int32_t c = 0; c < columns; ++c) real += std::exp(0.04 * (x[c] - greatest));
      for (int32_t c = 0; c < columns; ++c) {
        const volatile float below = 1.0f / 256 * static_cast<float>(sum);
        const volatile float factor = 1.0f / below;
        const volatile float value = static_cast<float>(exponent[x[c] + 255 - greatest]) * factor;
        want.At(row, c) = OracleByte(value, 0);
        const double softmax = std::exp(0.04 * (x[c] - greatest)) / real * 256;
        ASSERT_NEAR(want.At(row, c), std::min(softmax, 255.0), 0.51);
      }
    }
    const SoftmaxArgs args{.input = {in.data(), columns},
                           .output = out.Out(),
                           .columns = columns,
                           .exponent = exponent};
    RunSplit(kRows, random, [&](Range rows) { kernels_->softmax8(args, rows); });
    ASSERT_EQ(out.bytes, want.bytes) << columns;
  }
}

TEST_P(BytesTest, ResizeFollowsItsMaps) {
  CounterRandom random(kSeed, 16);
  for (int32_t bytes : {1, 3, 16, 61, 64, 65, 300}) {
    const int32_t in_h = 5, in_w = 4;
    const std::vector<uint8_t> in = RandomBytes(2 * in_h * in_w * bytes, random);
    const std::vector<int32_t> source_y = {0, 0, 1, 2, 2, 3, 4, 4, 1};
    const std::vector<int32_t> source_x = {3, 0, 1, 1, 2, 3, 0};
    const int32_t out_h = 9, out_w = 7, pixel = bytes + 2;
    std::vector<uint8_t> out(static_cast<size_t>(2 * out_h * out_w * pixel), kCanary), want(out);
    for (int32_t i = 0; i < 2 * out_h * out_w; ++i) {
      const int32_t y = source_y[static_cast<size_t>(i / out_w % out_h)];
      const int32_t x = source_x[static_cast<size_t>(i % out_w)];
      for (int32_t c = 0; c < bytes; ++c) {
        want[static_cast<size_t>(i * pixel + c)] =
            in[static_cast<size_t>(((i / (out_h * out_w) * in_h + y) * in_w + x) * bytes + c)];
      }
    }
    const ResizeNearestArgs args{
        .batch = 2,
        .out_h = out_h,
        .out_w = out_w,
        .pixel_bytes = bytes,
        .source_y = source_y.data(),
        .source_x = source_x.data(),
        .input = {in.data(), bytes, in_w * bytes, in_h * in_w * bytes},
        .output = {out.data(), pixel, out_w * pixel, out_h * out_w * pixel}};
    RunSplit(2 * out_h, random, [&](Range rows) { kernels_->resize_nearest(args, rows); });
    ASSERT_EQ(out, want) << bytes;
  }
}

}  // namespace
}  // namespace ds::engine
