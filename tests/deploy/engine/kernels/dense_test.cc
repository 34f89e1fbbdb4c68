// Products whose results stay floats, against sums written down naively.
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

INSTANTIATE_TEST_SUITE_P(Sets, DenseTest, AllSets(), SetName);

}  // namespace
}  // namespace ds::engine
