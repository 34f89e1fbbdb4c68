// What stands between kernels and a file that anybody may have written.
#include "deploy/engine/runtime/kernels/packed.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "gtest/gtest.h"
#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

const ConvShape kConv{.batch = 2,
                      .in_h = 9,
                      .in_w = 8,
                      .in_channels = 5,
                      .out_h = 9,
                      .out_w = 8,
                      .out_channels = 37,
                      .groups = 3,
                      .kernel_h = 3,
                      .kernel_w = 3,
                      .pad_top = 1,
                      .pad_left = 1};
const ConvShape kDepthwise{
    .in_h = 9, .in_w = 8, .out_h = 5, .out_w = 6, .groups = 67, .kernel_h = 5, .kernel_w = 3};

int64_t Needed(PackedKind kind, Isa isa) {
  const std::vector<int8_t> weights(
      static_cast<size_t>(kConv.groups * kConv.out_channels * kConv.Depth()));
  switch (kind) {
    case PackedKind::kConv8:
      return PackedConvBytes(isa, kConv, weights.data());
    case PackedKind::kConv4:
      return PackedConv4Bytes(isa, kConv);
    case PackedKind::kDepthwise8:
      return PackedDepthwiseBytes(isa, kDepthwise);
    case PackedKind::kConvF32:
      return PackedConvF32Floats(isa, kConv) * 4;
    case PackedKind::kDepthwiseF32:
      return PackedDepthwiseF32Floats(isa, kDepthwise) * 4;
  }
  return 0;
}

alignas(64) const uint8_t kSomewhere[128] = {};

TEST(PackedTest, WhatWasPackedFitsAndOneByteLessDoesNot) {
  for (Isa isa : kSets) {
    for (PackedKind kind : {PackedKind::kConv8, PackedKind::kConv4, PackedKind::kDepthwise8,
                            PackedKind::kConvF32, PackedKind::kDepthwiseF32}) {
      const bool depthwise = kind == PackedKind::kDepthwise8 || kind == PackedKind::kDepthwiseF32;
      const ConvShape& shape = depthwise ? kDepthwise : kConv;
      const int64_t bytes = Needed(kind, isa);
      EXPECT_GT(bytes, 0);
      EXPECT_TRUE(PackedFits(kind, isa, shape, kSomewhere, bytes));
      EXPECT_TRUE(PackedFits(kind, isa, shape, kSomewhere, bytes + 1));
      EXPECT_FALSE(PackedFits(kind, isa, shape, kSomewhere, bytes - 1));
      EXPECT_FALSE(PackedFits(kind, isa, shape, kSomewhere, -1));
      EXPECT_FALSE(PackedFits(kind, isa, shape, kSomewhere + 32, bytes));
      EXPECT_FALSE(PackedFits(kind, isa, shape, nullptr, bytes));
    }
  }
}

TEST(PackedTest, EveryFieldOfAShapeIsBounded) {
  ASSERT_TRUE(ShapeFits(kConv));
  int32_t ConvShape::*const fields[] = {
      &ConvShape::batch,       &ConvShape::in_h,         &ConvShape::in_w,
      &ConvShape::in_channels, &ConvShape::out_channels, &ConvShape::groups,
      &ConvShape::kernel_h,    &ConvShape::kernel_w,     &ConvShape::stride_h,
      &ConvShape::stride_w,    &ConvShape::dilation_h,   &ConvShape::dilation_w,
      &ConvShape::out_h,       &ConvShape::out_w,        &ConvShape::pad_top,
      &ConvShape::pad_left};
  for (int32_t ConvShape::*field : fields) {
    for (int32_t value : {-1, kMaxExtent + 1, std::numeric_limits<int32_t>::max(),
                          std::numeric_limits<int32_t>::min()}) {
      ConvShape shape = kConv;
      shape.*field = value;
      EXPECT_FALSE(ShapeFits(shape)) << value;
    }
  }
}

TEST(PackedTest, ProductsThatWouldOverflowAreRefused) {
  ConvShape shape;
  shape.kernel_h = shape.kernel_w = shape.in_channels = kMaxExtent;  // 2^60 products
  EXPECT_FALSE(ShapeFits(shape));
  shape = {.batch = 2048, .in_h = 1024, .in_w = 1024};
  EXPECT_FALSE(ShapeFits(shape));
  shape = {.batch = 2047, .in_h = 1024, .in_w = 1024};
  EXPECT_TRUE(ShapeFits(shape));
  shape = {.out_h = kMaxExtent, .stride_h = 2048};
  EXPECT_FALSE(ShapeFits(shape));
  shape = {.in_channels = kMaxDepth, .out_channels = 32767};
  EXPECT_TRUE(ShapeFits(shape));
  shape = {.in_channels = kMaxDepth, .out_channels = 32768};
  EXPECT_FALSE(ShapeFits(shape));
  shape = {.in_channels = kMaxDepth + 1};
  EXPECT_FALSE(ShapeFits(shape));
}

TEST(PackedTest, ScratchOfTheGreatestShapesIsBounded) {
  const ConvShape shapes[] = {
      {.in_channels = kMaxDepth},
      {.in_h = kMaxExtent, .out_h = kMaxExtent, .groups = kMaxExtent, .kernel_h = 2047},
      {.in_w = kMaxExtent,
       .out_w = kMaxExtent,
       .kernel_w = 1024,
       .stride_w = 1024,
       .dilation_w = 1024,
       .pad_left = kMaxExtent}};
  for (const ConvShape& shape : shapes) {
    ASSERT_TRUE(ShapeFits(shape));
    for (Isa isa : kSets) {
      const Kernels* kernels = KernelsFor(isa);
      if (!kernels) continue;
      for (int64_t bytes : {kernels->conv_scratch(shape), kernels->depthwise_scratch(shape)}) {
        EXPECT_GE(bytes, 0);
        EXPECT_LT(bytes, int64_t{1} << 26) << kernels->name;
      }
    }
  }
}

// Sums wrap, the same way everywhere; under the undefined-behaviour sanitizer nothing is reported.
TEST(PackedTest, HostileBiasesWrap) {
  const ConvShape shape{.in_w = 3, .in_channels = 16, .out_w = 3, .out_channels = 32};
  const ConvShape depthwise{.in_w = 3, .out_w = 3, .groups = 64};
  alignas(64) static uint8_t weights[512], wide_input[3 * 64 + kReadSlack];
  for (uint8_t& weight : weights) weight = 127;
  for (uint8_t& value : wide_input) value = 255;
  const std::vector<int32_t> bias(64, std::numeric_limits<int32_t>::max() - 1000);
  const std::vector<float> multiplier(64, 1.0f);
  for (Isa isa : kSets) {
    const Kernels* kernels = KernelsFor(isa);
    if (!kernels) continue;
    std::vector<uint8_t> scratch(static_cast<size_t>(
        std::max(kernels->conv_scratch(shape), kernels->depthwise_scratch(depthwise)) + 64));
    void* aligned = reinterpret_cast<void*>(
        RoundUp(static_cast<int64_t>(reinterpret_cast<uintptr_t>(scratch.data())), 64));
    std::vector<uint8_t> out(3 * 64, 9);
    Conv8Args args{.shape = shape,
                   .input = {wide_input, 16, 48, 48},
                   .output = {out.data(), 32, 96, 96},
                   .weights = weights};
    args.requantise.bias = bias.data();
    args.requantise.multiplier = multiplier.data();
    kernels->conv8(args, {0, 3}, {0, 32}, aligned);
    for (int i = 0; i < 96; ++i) ASSERT_EQ(out[static_cast<size_t>(i)], 0) << kernels->name;
    args.requantise.multiplier = multiplier.data();
    Depthwise8Args other{.shape = depthwise,
                         .input = {wide_input, 64, 192, 192},
                         .output = {out.data(), 64, 192, 192},
                         .weights = weights,
                         .requantise = args.requantise};
    out.assign(out.size(), 9);
    kernels->depthwise8(other, {0, 1}, aligned);
    for (uint8_t byte : out) ASSERT_EQ(byte, 0) << kernels->name;
  }
}

}  // namespace
}  // namespace ds::engine
