#include "federated/update/grid.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "codec/kernels.h"

namespace ds::federated {
namespace {

// Steps of the least mean square error, relative to a site's own mean square, averaged over
// Gaussian sites of root mean square 0.7, 1 and 1.4. One and two bits: finer than that, so that an
// error is less than the value itself (what error feedback needs) at sites of half the root mean
// square too.
constexpr float kSteps[kMostLevelBits] = {
    1.2f,      0.93f,     0.60794f, 0.36846f, 0.2163f,  0.12377f, 0.06939f, 0.03827f,
    0.020830f, 0.011230f, 0.00600f, 0.00318f, 0.00168f, 0.00088f, 0.00046f, 0.00024f};

constexpr uint64_t kRotationTensor = 0x726f746174696f6e;  // "rotation"

// Not std::clamp: this form becomes two instructions a vector.
inline float Clamped(float place, float low, float high) {
  place = place > low ? place : low;
  return place < high ? place : high;
}

struct Ends {
  float inverse, centre, low, high;
  explicit Ends(const Grid& grid)
      : inverse(1.0f / grid.step),
        centre(0.5f * static_cast<float>(grid.twice_centre())),
        low(grid.zero_is_a_level ? 1.0f : 0.0f),
        high(static_cast<float>(grid.top())) {}
};

}  // namespace

Grid MakeGrid(int bits, bool zero_is_a_level) {
  DS_CHECK(bits >= 1 && bits <= kMostLevelBits) << bits;
  return {.bits = bits, .zero_is_a_level = zero_is_a_level, .step = kSteps[bits - 1]};
}

Grid StatisticGrid() { return {.bits = 16, .step = 32.0f / 65535.0f}; }

void QuantizeNearest(const Grid& grid, absl::Span<const float> values, int32_t* levels) {
  const Ends ends(grid);
  const float shift = ends.centre + 0.5f;
  const int64_t count = static_cast<int64_t>(values.size());
  for (int64_t i = 0; i < count; ++i)
    levels[i] =
        static_cast<int32_t>(Clamped(values[i] * ends.inverse + shift, ends.low, ends.high));
}

void QuantizeStochastic(const Grid& grid, absl::Span<const float> values,
                        const lowbit::NoiseStream& noise, int64_t first, int32_t* levels) {
  const Ends ends(grid);
  const int64_t count = static_cast<int64_t>(values.size());
  PhiloxBlock block = {};
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t element = static_cast<uint64_t>(first + i);
    if (i == 0 || element % 4 == 0) block = lowbit::NoiseBlock(noise, element / 4);
    const float chance = static_cast<float>(block.word[element % 4] >> 8) * 0x1p-24f;
    const float place = Clamped(values[i] * ends.inverse + ends.centre, ends.low, ends.high);
    // Not by adding the chance to the place: that could round a level itself up.
    const int32_t below = static_cast<int32_t>(place);
    levels[i] = below + (chance < place - static_cast<float>(below) ? 1 : 0);
  }
}

void Dequantize(const Grid& grid, const int32_t* levels, absl::Span<float> values) {
  const float centre = 0.5f * static_cast<float>(grid.twice_centre());
  const int64_t count = static_cast<int64_t>(values.size());
  for (int64_t i = 0; i < count; ++i)
    values[i] = (static_cast<float>(levels[i]) - centre) * grid.step;
}

Rotation::Rotation(uint64_t seed, int64_t version, int64_t block)
    : block_(block),
      scale_(lowbit::RotationScale(std::countr_zero(static_cast<uint64_t>(block)))),
      stream_(lowbit::MakeNoiseStream(seed, static_cast<uint64_t>(version), kRotationTensor, 0,
                                      lowbit::NoiseUse::kRotation)) {}

void Rotation::Forth(absl::Span<float> values, int64_t first) const {
  if (block_ == 1) return;
  const lowbit::CodecKernels& kernels = lowbit::BestKernels();
  kernels.flip(values.data(), block_, scale_, stream_, static_cast<uint64_t>(first));
  kernels.hadamard(values.data(), block_);
}

void Rotation::Back(absl::Span<float> values, int64_t first) const {
  if (block_ == 1) return;
  const lowbit::CodecKernels& kernels = lowbit::BestKernels();
  kernels.hadamard(values.data(), block_);
  kernels.flip(values.data(), block_, scale_, stream_, static_cast<uint64_t>(first));
}

int64_t RotationBlockFor(int64_t count, bool rotate) {
  if (!rotate || count <= 1) return 1;
  return std::min(kRotationBlock,
                  static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count))));
}

}  // namespace ds::federated
