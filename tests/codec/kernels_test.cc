// Every instruction set's kernels make the bytes and bits of the scalar reference. Without Abseil,
// so that it cross-compiles.
#include "codec/kernels.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"

namespace ds::lowbit {
namespace {

constexpr uint64_t kSeed = 20260412;
constexpr uint8_t kCanary = 0xa5;
const NoiseStream kNoise = MakeNoiseStream(1, 2, 3, 4, NoiseUse::kRounding);

std::vector<int64_t> Counts() {
  std::vector<int64_t> counts;
  for (int64_t count = 0; count <= 140; ++count) counts.push_back(count);
  for (int64_t count : {191, 193, 255, 256, 257, 509, 511, 512, 513, 1021, 2047, 4093, 4096})
    counts.push_back(count);
  return counts;
}

// Values in [-1, 1] with specials among them that stay finite on a grid of that range.
std::vector<float> Values(int64_t count, uint32_t stream) {
  CounterRandom random(kSeed, stream);
  static constexpr float kSpecials[] = {
      0.0f, -0.0f, 1.0f,  -1.0f,   0x1p-149f, -0x1p-149f, 0x1.fffffep-127f,
      0.5f, -0.5f, 0.25f, 0x1p-24f};
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    value = random.NextBelow(4) == 0 ? kSpecials[random.NextBelow(std::size(kSpecials))]
                                     : 2 * random.NextFloat() - 1;
  }
  return values;
}

// Any bits: NaNs, infinities and denormals among them.
std::vector<float> AnyBits(int64_t count, uint32_t stream) {
  CounterRandom random(kSeed + 1, stream);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) {
    uint32_t bits = random.NextUint32();
    if (random.NextBelow(8) == 0) bits |= kInfinityBits;
    if (random.NextBelow(8) == 0) bits &= ~kInfinityBits;
    value = FromBits(bits);
  }
  return values;
}

std::vector<uint8_t> AnyBytes(int64_t count, uint32_t stream) {
  CounterRandom random(kSeed + 2, stream);
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.NextUint32());
  return bytes;
}

class CodecKernelsTest : public ::testing::TestWithParam<InstructionSet> {
 protected:
  void SetUp() override {
    tested_ = KernelsFor(GetParam());
    if (tested_ == nullptr) GTEST_SKIP() << "this processor lacks the instruction set";
  }

  // What encode(kernels, values, out) writes, from and to odd addresses; nothing around it may
  // change.
  template <typename Encode>
  std::vector<uint8_t> Bytes(const CodecKernels& kernels, const std::vector<float>& values,
                             int64_t size, const Encode& encode) {
    std::vector<uint8_t> room(static_cast<size_t>(size) + 34, kCanary);
    std::vector<float> shifted(values.size() + 1);
    std::copy(values.begin(), values.end(), shifted.begin() + 1);
    encode(kernels, shifted.data() + 1, room.data() + 17);
    for (size_t i = 0; i < 17; ++i) {
      EXPECT_EQ(room[i], kCanary) << kernels.name;
      EXPECT_EQ(room[room.size() - 1 - i], kCanary)
          << kernels.name << " wrote beyond " << size << " bytes";
    }
    return {room.begin() + 17, room.end() - 17};
  }

  template <typename Encode>
  void ExpectSameBytes(const std::vector<float>& values, int64_t size, const std::string& what,
                       const Encode& encode) {
    ASSERT_EQ(Bytes(*tested_, values, size, encode), Bytes(ScalarKernels(), values, size, encode))
        << what << " of " << values.size() << " values, seed " << kSeed;
  }

  // What decode(kernels, in, values) makes of the bytes, which lie at the very end of their block,
  // on top of `start`.
  template <typename Decode>
  std::vector<float> Decoded(const CodecKernels& kernels, const std::vector<uint8_t>& bytes,
                             std::vector<float> start, const Decode& decode) {
    const size_t count = start.size();
    start.insert(start.begin(), 1, 7.0f);
    start.insert(start.end(), 16, 7.0f);
    std::vector<uint8_t> shifted(bytes.size() + 1);
    std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
    decode(kernels, shifted.data() + 1, start.data() + 1);
    for (size_t i = count + 1; i < start.size(); ++i) EXPECT_EQ(start[i], 7.0f) << kernels.name;
    return {start.begin() + 1, start.begin() + 1 + static_cast<std::ptrdiff_t>(count)};
  }

  template <typename Decode>
  void ExpectSameValues(const std::vector<uint8_t>& bytes, int64_t count, const std::string& what,
                        const Decode& decode) {
    const std::vector<float> start = Values(count, 99);
    const std::vector<float> a = Decoded(*tested_, bytes, start, decode);
    const std::vector<float> b = Decoded(ScalarKernels(), bytes, start, decode);
    for (size_t i = 0; i < a.size(); ++i) {
      // A NaN's payload depends on the processor.
      ASSERT_TRUE(Bits(a[i]) == Bits(b[i]) || (std::isnan(a[i]) && std::isnan(b[i])))
          << what << " of " << count << " values, value " << i << ": " << a[i] << " and " << b[i]
          << ", seed " << kSeed;
    }
  }

  const CodecKernels* tested_ = nullptr;
};

TEST_P(CodecKernelsTest, ReductionsAreEqual) {
  for (int64_t count : Counts()) {
    for (const std::vector<float>& values : {Values(count, 1), AnyBits(count, 1)}) {
      EXPECT_EQ(tested_->magnitude(values.data(), count),
                ScalarKernels().magnitude(values.data(), count))
          << count;
      if (count == 0) continue;
      int32_t low[2], high[2];
      tested_->range(values.data(), count, low, high);
      ScalarKernels().range(values.data(), count, low + 1, high + 1);
      EXPECT_EQ(low[0], low[1]) << count;
      EXPECT_EQ(high[0], high[1]) << count;
    }
    const std::vector<float> values = Values(count, 2);
    EXPECT_EQ(tested_->magnitude_sum(values.data(), count),
              ScalarKernels().magnitude_sum(values.data(), count))
        << count;
  }
}

TEST_P(CodecKernelsTest, UniformCodesAreEqual) {
  for (int bits = 1; bits <= kMaxBits; ++bits) {
    for (bool max_norm : {false, true}) {
      const UniformGrid grid = max_norm
                                   ? MaxNormGrid(bits, Bits(1.0f))
                                   : MinMaxGrid(bits, Ordered(Bits(-1.0f)), Ordered(Bits(1.0f)));
      const UniformEncoding nearest = EncodingOf(grid, bits, max_norm, false),
                            stochastic = EncodingOf(grid, bits, max_norm, true);
      for (int64_t count : Counts()) {
        const std::string what = std::to_string(bits) + " bits";
        const std::vector<float> values = Values(count, static_cast<uint32_t>(count));
        if (!max_norm || bits > 1) {
          ExpectSameBytes(values, CodeBytes(count, bits), what,
                          [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                            kernels.encode_nearest[bits - 1](from, count, nearest, out);
                          });
        }
        // Beyond 2^35 the block's number has an upper word.
        for (uint64_t first : {uint64_t{0}, uint64_t{96}, (uint64_t{1} << 35) - 64}) {
          ExpectSameBytes(values, CodeBytes(count, bits), what,
                          [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                            kernels.encode_stochastic[bits - 1](from, count, stochastic, kNoise,
                                                                first, out);
                          });
        }
        for (int way : {0, 1}) {
          const uint32_t bias = max_norm ? static_cast<uint32_t>(MaxNormSteps(bits)) : 0;
          ExpectSameValues(AnyBytes(CodeBytes(count, bits), 3), count, what,
                           [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                             kernels.decode[way][bits - 1](in, count, grid, bias, values);
                           });
        }
      }
    }
  }
}

TEST_P(CodecKernelsTest, SignsAreEqual) {
  for (int64_t count : Counts()) {
    ExpectSameBytes(AnyBits(count, 4), CodeBytes(count, 1), "signs",
                    [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                      kernels.encode_signs(from, count, out);
                    });
    for (int way : {0, 1}) {
      ExpectSameValues(AnyBytes(CodeBytes(count, 1), 5), count, "signs",
                       [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                         kernels.decode_signs[way](in, count, 0.3f, values);
                       });
    }
  }
}

TEST_P(CodecKernelsTest, HalvesAreEqual) {
  for (int64_t count : Counts()) {
    ExpectSameBytes(AnyBits(count, 6), 2 * count, "float16",
                    [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                      kernels.encode_float16(from, count, out);
                    });
    ExpectSameBytes(AnyBits(count, 7), 2 * count, "bfloat16",
                    [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                      kernels.encode_bfloat16(from, count, out);
                    });
    for (int way : {0, 1}) {
      ExpectSameValues(AnyBytes(2 * count, 8), count, "float16",
                       [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                         kernels.decode_float16[way](in, count, values);
                       });
      ExpectSameValues(AnyBytes(2 * count, 9), count, "bfloat16",
                       [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                         kernels.decode_bfloat16[way](in, count, values);
                       });
    }
    ExpectSameValues(AnyBytes(4 * count, 10), count, "float32",
                     [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                       kernels.add_float32(in, count, values);
                     });
  }
}

// Float16 in the range where it rounds to normal, subnormal, zero and infinite numbers: random bits
// seldom land there.
TEST_P(CodecKernelsTest, Float16RoundsAlikeAtItsEdges) {
  std::vector<float> values;
  for (float edge : {0x1p-14f, 0x1p-24f, 0x1p-25f, 0x1.8p-24f, 65504.0f, 65520.0f, 1.0f, 0x1.002p0f,
                     0x1.006p0f}) {
    for (int32_t off = -3; off <= 3; ++off) {
      for (uint32_t sign : {0u, 1u})
        values.push_back(WithSign(FromBits(Bits(edge) + static_cast<uint32_t>(off)), sign));
    }
  }
  const int64_t count = static_cast<int64_t>(values.size());
  ExpectSameBytes(values, 2 * count, "float16",
                  [&](const CodecKernels& kernels, const float* from, uint8_t* out) {
                    kernels.encode_float16(from, count, out);
                  });
  std::vector<uint8_t> every;
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    every.push_back(static_cast<uint8_t>(bits));
    every.push_back(static_cast<uint8_t>(bits >> 8));
  }
  ExpectSameValues(every, 65536, "every float16",
                   [&](const CodecKernels& kernels, const uint8_t* in, float* values) {
                     kernels.decode_float16[0](in, 65536, values);
                   });
}

TEST_P(CodecKernelsTest, RotationsAreEqual) {
  const NoiseStream noise = MakeNoiseStream(1, 2, 3, 4, NoiseUse::kRotation);
  for (int64_t count = 1; count <= 4096; count *= 2) {
    const std::vector<uint8_t> none;
    ExpectSameValues(none, count, "hadamard",
                     [&](const CodecKernels& kernels, const uint8_t* /*in*/, float* values) {
                       kernels.hadamard(values, count);
                     });
    for (uint64_t first : {uint64_t{0}, uint64_t{64}, uint64_t{1} << 40}) {
      ExpectSameValues(none, count, "flip",
                       [&](const CodecKernels& kernels, const uint8_t* /*in*/, float* values) {
                         kernels.flip(values, count, 0.7f, noise, first);
                       });
    }
  }
  // The pieces of a short bucket begin anywhere.
  for (int64_t count : {1, 3, 8, 31, 100}) {
    for (uint64_t first : {uint64_t{3}, uint64_t{129}, uint64_t{4092}}) {
      ExpectSameValues({}, count, "flip",
                       [&](const CodecKernels& kernels, const uint8_t* /*in*/, float* values) {
                         kernels.flip(values, count, 0.7f, noise, first);
                       });
    }
  }
}

std::string NameOf(const ::testing::TestParamInfo<InstructionSet>& info) {
  static constexpr const char* kNames[] = {"Scalar", "Avx2", "Avx512", "Neon"};
  return kNames[static_cast<int>(info.param)];
}
#if defined(__x86_64__)
INSTANTIATE_TEST_SUITE_P(Sets, CodecKernelsTest,
                         ::testing::Values(InstructionSet::kAvx2, InstructionSet::kAvx512), NameOf);
#elif defined(__aarch64__)
INSTANTIATE_TEST_SUITE_P(Sets, CodecKernelsTest, ::testing::Values(InstructionSet::kNeon), NameOf);
#endif

// The noise is base/random.h's Philox, laid out as docs/codecs.md says.
TEST(CodecMathTest, NoiseIsPhiloxOfItsNames) {
  const uint64_t seed = 0x1122334455667788u, step = 0x99aabbccddeeff00u,
                 tensor = 0x0123456789abcdefu, rank = 0xfedcba9876543210u;
  for (uint32_t use : {0u, 1u}) {
    const std::array<uint32_t, 2> key = {static_cast<uint32_t>(seed),
                                         static_cast<uint32_t>(seed >> 32)};
    auto s = Philox4x32({static_cast<uint32_t>(tensor), static_cast<uint32_t>(tensor >> 32),
                         static_cast<uint32_t>(rank), static_cast<uint32_t>(rank >> 32)},
                        key);
    s = Philox4x32({s[0] ^ static_cast<uint32_t>(step), s[1] ^ static_cast<uint32_t>(step >> 32),
                    s[2] ^ use, s[3]},
                   key);
    const NoiseStream stream =
        MakeNoiseStream(seed, step, tensor, rank, static_cast<NoiseUse>(use));
    for (uint64_t element : {uint64_t{0}, uint64_t{1}, uint64_t{9}, uint64_t{31}, uint64_t{12345},
                             (uint64_t{1} << 40) + 27}) {
      const uint64_t rounding_block = 4 * (element / 32) + element % 8 / 2;
      auto block = Philox4x32({static_cast<uint32_t>(rounding_block),
                               static_cast<uint32_t>(rounding_block >> 32), s[2], s[3]},
                              {s[0], s[1]});
      const uint32_t word = block[element % 2 + 2 * (element / 16 % 2)];
      EXPECT_EQ(Noise16(stream, element), element / 8 % 2 == 0 ? word & 0xffff : word >> 16)
          << element;
      const uint64_t sign_block = element / 128;
      block = Philox4x32(
          {static_cast<uint32_t>(sign_block), static_cast<uint32_t>(sign_block >> 32), s[2], s[3]},
          {s[0], s[1]});
      EXPECT_EQ(RotationFlips(stream, element),
                ((block[element % 128 / 32] >> (element % 32)) & 1) != 0)
          << element;
    }
  }
}

// The reference's own bits: the same on every processor and with every compiler, or ranks would not
// agree.
TEST(CodecMathTest, TheReferenceIsTheSameOnEveryMachine) {
  const CodecKernels& scalar = ScalarKernels();
  const int64_t count = 509;
  const std::vector<float> values = Values(count, 1);
  std::vector<uint8_t> all;
  const auto append = [&](const void* data, size_t size) {
    const uint8_t* bytes = static_cast<const uint8_t*>(data);
    all.insert(all.end(), bytes, bytes + size);
  };
  std::vector<uint8_t> out(2 * static_cast<size_t>(count));
  for (int bits = 1; bits <= kMaxBits; ++bits) {
    for (bool max_norm : {false, true}) {
      const UniformGrid grid = max_norm
                                   ? MaxNormGrid(bits, Bits(1.1f))
                                   : MinMaxGrid(bits, Ordered(Bits(-1.1f)), Ordered(Bits(1.1f)));
      scalar.encode_stochastic[bits - 1](
          values.data(), count, EncodingOf(grid, bits, max_norm, true), kNoise, 64, out.data());
      append(out.data(), static_cast<size_t>(CodeBytes(count, bits)));
      std::vector<float> decoded = values;
      scalar.decode[1][bits - 1](out.data(), count, grid,
                                 max_norm ? static_cast<uint32_t>(MaxNormSteps(bits)) : 0,
                                 decoded.data());
      append(decoded.data(), decoded.size() * sizeof(float));
    }
  }
  scalar.encode_float16(values.data(), count, out.data());
  append(out.data(), out.size());
  scalar.encode_bfloat16(values.data(), count, out.data());
  append(out.data(), out.size());
  const float sum = scalar.magnitude_sum(values.data(), count);
  append(&sum, sizeof(sum));
  std::vector<float> rotated(values.begin(), values.begin() + 256);
  scalar.flip(rotated.data(), 256, RotationScale(7), kNoise, 0);
  scalar.hadamard(rotated.data(), 256);
  append(rotated.data(), rotated.size() * sizeof(float));
  EXPECT_EQ(StreamOf(reinterpret_cast<const char*>(all.data()), all.size()), 11181018206681203728u);
}

}  // namespace
}  // namespace ds::lowbit
