// What holds for every codec: sizes, ranges, decoding as adding, poison, refusals.
#include "codec/codec.h"

#include <cstring>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/codec/cases.h"

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr CodecNoise kNoise = {
    .seed = 11, .step = 22, .tensor = 33, .rank = 44, .first_element = 0};
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

TEST(CodecTest, OptionsOutOfRangeAreNamed) {
  const auto refused = [](const CodecOptions& options, const char* name) {
    const auto codec = Codec::Create(options);
    EXPECT_EQ(codec.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(codec.status().message(), HasSubstr(name));
  };
  refused({.bits = 0}, "bits");
  refused({.bits = 9}, "bits");
  refused({.bucket = 32}, "bucket");
  refused({.bucket = 8192}, "bucket");
  refused({.bucket = 500}, "bucket");
  refused({.bucket = -512}, "bucket");
  refused({.bits = 4, .rotate = true}, "rotate");
  refused({.kind = CodecKind::kSign, .rotate = true}, "rotate");
  refused({.kind = CodecKind::kTopK, .density = 0}, "density");
  refused({.kind = CodecKind::kTopK, .density = 1.01}, "density");
  refused({.kind = CodecKind::kTopK, .density = std::numeric_limits<double>::quiet_NaN()},
          "density");
  refused({.kind = static_cast<CodecKind>(6)}, "kind");
}

TEST(CodecTest, SizesAreThoseOfTheDocument) {
  const auto size = [](const CodecOptions& options, int64_t count) {
    return CodecOf(options)->EncodedSize(count);
  };
  EXPECT_EQ(size({.kind = CodecKind::kFloat32}, 1000), 4000);
  EXPECT_EQ(size({.kind = CodecKind::kFloat16}, 1001), 2002);
  EXPECT_EQ(size({.kind = CodecKind::kBFloat16}, 7), 14);
  EXPECT_EQ(size({.bits = 4, .bucket = 512}, 1024), 2 * (4 + 256));
  EXPECT_EQ(size({.bits = 4, .bucket = 512}, 1025), 2 * (4 + 256) + 4 + 1);
  EXPECT_EQ(size({.bits = 3, .bucket = 64, .scale = CodecScale::kMinMax}, 67), 8 + 24 + 8 + 2);
  EXPECT_EQ(size({.kind = CodecKind::kSign, .bucket = 64}, 65), 4 + 8 + 4 + 1);
  EXPECT_EQ(size({.kind = CodecKind::kTopK, .bucket = 512, .density = 0.01}, 512), 6 * 6);
  EXPECT_EQ(size({.kind = CodecKind::kTopK, .bucket = 512, .density = 0.01}, 513), 6 * 6 + 6);
  EXPECT_EQ(size({.kind = CodecKind::kTopK, .bucket = 4096, .density = 1}, 4096), 6 * 4096);
  for (const CodecOptions& options : AllCases(64))
    EXPECT_EQ(size(options, 0), 0) << NameOf(options);
  // Beyond 2^31 bytes.
  EXPECT_EQ(size({.bits = 8, .bucket = 512}, int64_t{1} << 32), (int64_t{1} << 32) / 512 * 516);
}

// Issue 4: at least 7.5 times fewer bytes at 4 bits.
TEST(CodecTest, FourBitsSaveSevenAndAHalfTimes) {
  const int64_t count = 11'000'000;
  EXPECT_GE(4.0 * static_cast<double>(count) /
                static_cast<double>(CodecOf({.bits = 4})->EncodedSize(count)),
            7.5);
}

TEST(CodecTest, ARangeAtAMultipleOfTheBucketHasTheBytesOfTheWhole) {
  for (const CodecOptions& options : AllCases(64)) {
    const auto codec = CodecOf(options);
    const std::vector<float> values = Gradients(64 * 7 + 37);
    const std::vector<std::byte> whole = Encoded(*codec, values, kNoise);
    std::vector<std::byte> parts;
    const std::vector<int64_t> cuts = {0, 64, 64 * 3, 64 * 6, 64 * 7 + 37};
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      CodecNoise noise = kNoise;
      noise.first_element = cuts[i];
      const auto range = absl::MakeConstSpan(values).subspan(
          static_cast<size_t>(cuts[i]), static_cast<size_t>(cuts[i + 1] - cuts[i]));
      const std::vector<std::byte> part = Encoded(*codec, range, noise);
      EXPECT_TRUE(SameBits(RoundTrip(*codec, range, noise),
                           [&] {
                             const std::vector<float> all = RoundTrip(*codec, values, kNoise);
                             return std::vector<float>(all.begin() + cuts[i],
                                                       all.begin() + cuts[i + 1]);
                           }()))
          << NameOf(options);
      parts.insert(parts.end(), part.begin(), part.end());
    }
    EXPECT_EQ(whole, parts) << NameOf(options);
  }
}

TEST(CodecTest, DecodeAddIsDecodeAndAnAddition) {
  for (int64_t bucket : {64, 512}) {
    for (const CodecOptions& options : AllCases(bucket)) {
      const auto codec = CodecOf(options);
      for (int64_t count : {0, 1, 2, 31, 64, 67, 509, 512, 1031}) {
        std::vector<float> values = Gradients(count);
        if (count > 70) std::fill(values.begin(), values.begin() + 64, 0.0f);
        const std::vector<std::byte> bytes = Encoded(*codec, values, kNoise);
        std::vector<float> wanted = Gradients(count, kCodecSeed + 1);
        if (count > 1) wanted[1] = -0.0f;
        std::vector<float> sum = wanted;
        const std::vector<float> decoded = Decoded(*codec, bytes, count, kNoise);
        for (size_t i = 0; i < wanted.size(); ++i) wanted[i] = wanted[i] + decoded[i];
        ASSERT_TRUE(codec->DecodeAdd(bytes, kNoise, absl::MakeSpan(sum)).ok());
        EXPECT_TRUE(SameBits(sum, wanted)) << NameOf(options) << " count " << count;
      }
    }
  }
}

TEST(CodecTest, NanAndInfPoisonTheirBucketAndNoOther) {
  for (const CodecOptions& options : AllCases(64)) {
    const auto codec = CodecOf(options);
    const bool by_itself = options.kind == CodecKind::kFloat32 ||
                           options.kind == CodecKind::kFloat16 ||
                           options.kind == CodecKind::kBFloat16;
    for (float poison : {kNan, -kNan, kInf, -kInf}) {
      for (size_t place : {64, 65, 100, 127}) {
        std::vector<float> values = Gradients(64 * 3 + 5);
        const std::vector<float> clean = RoundTrip(*codec, values, kNoise);
        values[place] = poison;
        const std::vector<float> decoded = RoundTrip(*codec, values, kNoise);
        for (size_t i = 0; i < values.size(); ++i) {
          const bool hit = by_itself ? i == place : i / 64 == 1;
          if (!hit) {
            EXPECT_EQ(decoded[i], clean[i])
                << NameOf(options) << " " << poison << " at " << place << ", value " << i;
          } else if (by_itself && std::isinf(poison)) {
            EXPECT_EQ(decoded[i], poison);
          } else {
            EXPECT_TRUE(std::isnan(decoded[i]))
                << NameOf(options) << " " << poison << " at " << place << ", value " << i;
          }
        }
      }
    }
  }
}

TEST(CodecTest, AnAllZeroBucketDecodesToPlusZeros) {
  for (const CodecOptions& options : AllCases(64)) {
    const auto codec = CodecOf(options);
    for (int64_t count : {1, 63, 64, 130}) {
      const std::vector<float> zeros(static_cast<size_t>(count), 0.0f);
      EXPECT_TRUE(SameBits(RoundTrip(*codec, zeros, kNoise), zeros))
          << NameOf(options) << " count " << count;
    }
  }
}

TEST(CodecTest, AWrongNumberOfBytesIsDataLoss) {
  for (const CodecOptions& options : AllCases(64)) {
    const auto codec = CodecOf(options);
    std::vector<float> values = Gradients(130);
    std::vector<std::byte> bytes = Encoded(*codec, values, kNoise);
    bytes.push_back(std::byte{0});
    EXPECT_EQ(codec->Decode(bytes, kNoise, absl::MakeSpan(values)).code(),
              absl::StatusCode::kDataLoss)
        << NameOf(options);
    bytes.resize(bytes.size() - 2);
    EXPECT_EQ(codec->DecodeAdd(bytes, kNoise, absl::MakeSpan(values)).code(),
              absl::StatusCode::kDataLoss)
        << NameOf(options);
    EXPECT_EQ(codec->Decode({}, kNoise, absl::MakeSpan(values)).code(), absl::StatusCode::kDataLoss)
        << NameOf(options);
  }
}

}  // namespace
}  // namespace ds
