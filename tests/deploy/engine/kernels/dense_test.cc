// Products whose results stay floats, against sums written down naively.
#include <cmath>
#include <cstdint>
#include <vector>

#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "tests/deploy/engine/kernels/fixture.h"

namespace ds::engine {
namespace {

class DenseTest : public KernelsTest {};

TEST_P(DenseTest, EqualsNaiveSumsExactly) {
  CounterRandom random(kSeed, 71);
  for (const int32_t depth : {1, 2, 3, 4, 5, 15, 16, 17, 31, 64, 130, 1280}) {
    for (const int32_t columns : {1, 5, 15, 16, 17, 31, 32, 33, 47, 48, 49, 64, 100}) {
      for (const int32_t rows : {1, 3}) {
        ConvShape shape;
        shape.in_w = shape.out_w = rows;
        shape.in_channels = depth;
        shape.out_channels = columns;
        // Rows that end before a page nobody may touch, but for what a kernel may read.
        const Guarded input(RandomBytes(int64_t{rows} * depth, random));
        std::vector<int8_t> weights(static_cast<size_t>(depth * columns));
        for (int8_t& weight : weights) weight = static_cast<int8_t>(random.NextUint32());
        const int32_t zero = 131;
        std::vector<int32_t> bias(static_cast<size_t>(PaddedChannels(shape)));
        ASSERT_TRUE(FoldBias(shape, weights.data(), nullptr, zero, bias.data()));
        const std::vector<float> scale = RandomFloats(PaddedChannels(shape), 0.01f, random);
        const std::vector<float> shift = RandomFloats(PaddedChannels(shape), 3, random);
        std::vector<uint8_t> packed(PackedConvBytes(GetParam(), shape, weights.data()));
        PackConv(GetParam(), shape, weights.data(), packed.data());
        const Guarded held(packed);
        const Guarded output(int64_t{rows} * columns * 4, 4);
        const Dense8Args args = {{input.get(), depth},
                                 {output.get(), columns * 4},
                                 depth,
                                 columns,
                                 held.get(),
                                 bias.data(),
                                 scale.data(),
                                 shift.data()};
        const int32_t blocks = (columns + kChannelBlock - 1) / kChannelBlock;
        RunSplit(rows, random, [&](Range some) {
          RunSplit(blocks, random, [&](Range block) {
            kernels_->dense8(
                args, some,
                {block.begin * kChannelBlock, std::min(block.end * kChannelBlock, columns)});
          });
        });
        const auto* out = reinterpret_cast<const float*>(output.get());
        for (int32_t r = 0; r < rows; ++r) {
          for (int32_t c = 0; c < columns; ++c) {
            int64_t sum = 0;
            for (int32_t k = 0; k < depth; ++k)
              sum += int64_t{input.get()[r * depth + k] - zero} * weights[c * depth + k];
            const float product = static_cast<float>(sum) * scale[c];
            ASSERT_EQ(out[r * columns + c], product + shift[c])
                << depth << " x " << columns << ", row " << r << ", column " << c;
          }
        }
      }
    }
  }
}

// Weights of 4 bits with a scale a block, for inputs of type In: the sums as the contract has them,
// in its order and rounding; of codes to the bit. `slack`: of floats, what another order of a
// block's sum may differ by, in shares of the sum of magnitudes.
template <typename In>
void CheckBlocks(const Kernels& kernels, Isa isa, float slack, CounterRandom& random) {
  constexpr bool kCodes = sizeof(In) == 1;
  for (const int32_t depth : {1, 7, 8, 9, 24, 33, 64, 100, 257}) {
    for (const int32_t columns : {1, 15, 16, 17, 32, 33, 49, 70}) {
      const int32_t block = depth % 3 == 0 ? 8 : depth % 3 == 1 ? 32 : 512;
      const int32_t rows = 1 + depth % 6, zero = kCodes ? 131 : 0;
      ConvShape shape;
      shape.in_w = shape.out_w = rows;
      shape.in_channels = depth;
      shape.out_channels = columns;
      std::vector<In> values(static_cast<size_t>(rows * depth));
      for (In& value : values) {
        value = kCodes ? static_cast<In>(random.NextUint32())
                       : static_cast<In>(static_cast<int32_t>(random.NextUint32()) * 0x1p-31f);
      }
      const Guarded input(values);
      std::vector<int8_t> weights(static_cast<size_t>(depth * columns));
      for (int8_t& weight : weights) weight = static_cast<int8_t>(random.NextUint32() % 16) - 8;
      const int32_t blocks = (depth + block - 1) / block;
      const auto padded = static_cast<int32_t>(PaddedChannels(shape));
      const std::vector<float> scale = RandomFloats(int64_t{blocks} * padded, 0.01f, random);
      const std::vector<float> shift = RandomFloats(padded, 3, random);
      std::vector<uint8_t> packed(PackedConv4Bytes(isa, shape));
      PackConv4(isa, shape, weights.data(), packed.data());
      const Guarded held(packed), scales(scale);
      const Guarded output(int64_t{rows} * columns * 4, 4);
      const Dense4Args args = {{input.get(), depth * static_cast<int64_t>(sizeof(In))},
                               {output.get(), columns * 4},
                               depth,
                               columns,
                               block,
                               zero,
                               held.get(),
                               reinterpret_cast<const float*>(scales.get()),
                               shift.data()};
      const int32_t parts = (columns + kChannelBlock - 1) / kChannelBlock;
      RunSplit(rows, random, [&](Range some) {
        RunSplit(parts, random, [&](Range part) {
          (kCodes ? kernels.dense4 : kernels.dense4_f32)(
              args, some,
              {part.begin * kChannelBlock, std::min(part.end * kChannelBlock, columns)});
        });
      });
      const auto* out = reinterpret_cast<const float*>(output.get());
      for (int32_t r = 0; r < rows; ++r) {
        for (int32_t c = 0; c < columns; ++c) {
          float total = 0, magnitude = 0;
          for (int32_t b = 0; b < blocks; ++b) {
            double sum = 0;  // of codes exact
            for (int32_t k = b * block; k < std::min(depth, (b + 1) * block); ++k) {
              const double product =
                  (static_cast<double>(values[r * depth + k]) - zero) * weights[c * depth + k];
              sum += product;
              magnitude += static_cast<float>(std::abs(product)) * std::abs(scale[b * padded + c]);
            }
            const float part = static_cast<float>(sum) * scale[b * padded + c];
            total += part;
          }
          ASSERT_NEAR(out[r * columns + c], total + shift[c], slack * magnitude)
              << depth << " x " << columns << ", row " << r << ", column " << c;
        }
      }
    }
  }
}

TEST_P(DenseTest, BlocksOfFourBitsEqualNaiveSumsExactly) {
  CounterRandom random(kSeed, 72);
  CheckBlocks<uint8_t>(*kernels_, GetParam(), 0, random);
}

TEST_P(DenseTest, BlocksOfFourBitsTakeFloats) {
  CounterRandom random(kSeed, 73);
  CheckBlocks<float>(*kernels_, GetParam(), 600 * 0x1p-24f, random);
}

INSTANTIATE_TEST_SUITE_P(Sets, DenseTest, AllSets(), SetName);

}  // namespace
}  // namespace ds::engine
