// The bytes of docs/codecs.md, worked out by hand; and every instruction set makes them through the
// whole codec.
#include <limits>

#include "codec/internal.h"
#include "gtest/gtest.h"
#include "tests/codec/cases.h"

namespace ds {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<int> BytesOf(const CodecOptions& options, const std::vector<float>& values) {
  std::vector<int> bytes;
  for (std::byte byte : Encoded(*CodecOf(options), values, {}))
    bytes.push_back(std::to_integer<int>(byte));
  return bytes;
}

TEST(CodecFormatTest, UniformMaxNorm) {
  // Steps of 7 / 7; codes 14, 0, 7, 8, 9.
  EXPECT_EQ(BytesOf({.bits = 4}, {7, -7, 0, 1, 2.4f}),
            (std::vector<int>{0, 0, 0x80, 0x3f, 0x0e, 0x87, 0x09}));
  // Steps of 3 / 1; codes 2, 0, 1, 1 (1.5 is a tie, to zero), 1.
  EXPECT_EQ(BytesOf({.bits = 2}, {3, -3, 0, 1.5f, -0.1f}),
            (std::vector<int>{0, 0, 0x40, 0x40, 0x52, 0x01}));
  // Signs, -0 a negative one.
  EXPECT_EQ(BytesOf({.bits = 1}, {2, -1, 0, -0.0f}), (std::vector<int>{0, 0, 0, 0x40, 0x0a}));
  EXPECT_EQ(BytesOf({.bits = 8}, {127, -127, 1}),
            (std::vector<int>{0, 0, 0x80, 0x3f, 254, 0, 128}));
}

TEST(CodecFormatTest, UniformMinMax) {
  // Steps of 1 from -1; codes 0, 7, 1, 4 (3.5 is a tie): 0 + 7 * 8 + 1 * 64 + 4 * 512 = 0x878.
  EXPECT_EQ(BytesOf({.bits = 3, .scale = CodecScale::kMinMax}, {-1, 6, 0, 2.5f}),
            (std::vector<int>{0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xbf, 0x78, 0x08}));
  EXPECT_EQ(BytesOf({.bits = 1, .scale = CodecScale::kMinMax}, {1, 3, 1.5f, 2.5f}),
            (std::vector<int>{0, 0, 0, 0x40, 0, 0, 0x80, 0x3f, 0x0a}));
}

TEST(CodecFormatTest, Sign) {
  EXPECT_EQ(BytesOf({.kind = CodecKind::kSign}, {1, -3, 2, -2}),
            (std::vector<int>{0, 0, 0, 0x40, 0x0a}));
  EXPECT_EQ(BytesOf({.kind = CodecKind::kSign}, {0, -0.0f, 0, 0}),
            (std::vector<int>{0, 0, 0, 0, 0}));
}

TEST(CodecFormatTest, TopKKeepsTheFirstOfEqualMagnitudes) {
  EXPECT_EQ(BytesOf({.kind = CodecKind::kTopK, .density = 0.5}, {1, -3, 2, -2}),
            (std::vector<int>{1, 0, 2, 0, 0, 0, 0x40, 0xc0, 0, 0, 0, 0x40}));
}

TEST(CodecFormatTest, Floats) {
  EXPECT_EQ(BytesOf({.kind = CodecKind::kFloat32}, {1, -2}),
            (std::vector<int>{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}));
  EXPECT_EQ(BytesOf({.kind = CodecKind::kFloat16}, {1, -2}), (std::vector<int>{0, 0x3c, 0, 0xc0}));
  EXPECT_EQ(BytesOf({.kind = CodecKind::kBFloat16}, {1, -2}),
            (std::vector<int>{0x80, 0x3f, 0, 0xc0}));
}

TEST(CodecFormatTest, Poison) {
  EXPECT_EQ(BytesOf({.bits = 4}, {1, kNan, 2}), (std::vector<int>{0, 0, 0xc0, 0x7f, 0, 0}));
  EXPECT_EQ(BytesOf({.bits = 4, .scale = CodecScale::kMinMax}, {1, -kNan}),
            (std::vector<int>{0, 0, 0xc0, 0x7f, 0, 0, 0xc0, 0x7f, 0}));
  EXPECT_EQ(BytesOf({.kind = CodecKind::kSign}, {1, INFINITY}),
            (std::vector<int>{0, 0, 0xc0, 0x7f, 0}));
  EXPECT_EQ(BytesOf({.kind = CodecKind::kTopK}, {1, kNan}),
            (std::vector<int>{0xff, 0xff, 0, 0, 0xc0, 0x7f}));
}

// A step or scale that is no number, as a broken sender might write it, never decodes to ordinary
// numbers.
TEST(CodecFormatTest, AnInfiniteHeaderDecodesToNan) {
  const std::byte inf[] = {std::byte{0}, std::byte{0}, std::byte{0x80}, std::byte{0x7f}};
  for (const CodecOptions& options :
       {CodecOptions{.bits = 4}, CodecOptions{.bits = 1}, CodecOptions{.kind = CodecKind::kSign}}) {
    std::vector<std::byte> bytes(inf, inf + 4);
    bytes.resize(static_cast<size_t>(CodecOf(options)->EncodedSize(3)));
    for (float value : Decoded(*CodecOf(options), bytes, 3, {}))
      EXPECT_TRUE(std::isnan(value)) << NameOf(options);
  }
}

TEST(CodecFormatTest, EveryInstructionSetMakesTheSameBytesAndValues) {
  using lowbit::InstructionSet;
  const CodecNoise noise = {.seed = 1, .step = 2, .tensor = 3, .rank = 4, .first_element = 4096};
  for (InstructionSet set :
       {InstructionSet::kAvx2, InstructionSet::kAvx512, InstructionSet::kNeon}) {
    const lowbit::CodecKernels* kernels = lowbit::KernelsFor(set);
    if (kernels == nullptr) continue;
    for (const CodecOptions& options : AllCases(256)) {
      const auto tested = lowbit::MakeCodec(options, *kernels),
                 reference = lowbit::MakeCodec(options, lowbit::ScalarKernels());
      for (int64_t count : {1, 61, 256, 1021, 2048}) {
        std::vector<float> values = Gradients(count);
        // Far from zero, which short blocks are padded with.
        if (count % 2 != 0)
          for (float& value : values) value += 100;
        const std::vector<std::byte> bytes = Encoded(*tested, values, noise);
        ASSERT_EQ(bytes, Encoded(*reference, values, noise))
            << NameOf(options) << " " << kernels->name << " count " << count;
        ASSERT_EQ(Decoded(*tested, bytes, count, noise), Decoded(*reference, bytes, count, noise))
            << NameOf(options) << " " << kernels->name;
      }
    }
  }
}

}  // namespace
}  // namespace ds
