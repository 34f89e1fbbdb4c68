// The public grid: floats of unit root mean square to levels 0 .. 2^bits - 1 and back, the same
// grid at every site, so that sums of levels are sums of values: value = (level - centre) * step,
// a sum of k sites = (sum of levels - k * centre) * step, exactly. Between two levels around zero
// lies zero (mid-rise); under noise of the sites' own (differential privacy) a level is zero
// (mid-tread), since noise is added to integers.
//
// Before it is quantised, a block is rotated (randomised Hadamard transform, Suresh et al. 2017):
// its values become nearly Gaussian whatever they were, which is what the steps are best for.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "codec/codec_math.h"

namespace ds::federated {

constexpr int kMostLevelBits = 16;
constexpr int64_t kRotationBlock = 1024;  // values

struct Grid {
  int bits = 0;
  bool zero_is_a_level = false;
  float step = 0;

  int64_t top() const { return (int64_t{1} << bits) - 1; }  // the greatest level
  // Twice the centre, an integer.
  int64_t twice_centre() const { return zero_is_a_level ? top() + 1 : top(); }
};

// The step that is best for `bits` and values of unit root mean square, with sites up to 1.4 times
// off it either way (docs/federated-updates.md, "The grid").
Grid MakeGrid(int bits, bool zero_is_a_level);
// Statistics: 16 bits, 16 root mean squares to either side.
Grid StatisticGrid();

// levels[i] = the level nearest to values[i]; beyond the ends, the ends (mid-tread: level 0 is
// never used, so that the grid is symmetric). Finite values.
void QuantizeNearest(const Grid& grid, absl::Span<const float> values, int32_t* levels);
// Up with a probability of the fraction. `noise`, `first`: the stream, and where in it values[0]
// is.
void QuantizeStochastic(const Grid& grid, absl::Span<const float> values,
                        const lowbit::NoiseStream& noise, int64_t first, int32_t* levels);
// values[i] = (levels[i] - centre) * step.
void Dequantize(const Grid& grid, const int32_t* levels, absl::Span<float> values);

// The rotation of one model version. Orthonormal; the same bits on every instruction set.
class Rotation {
 public:
  // `block`: values a block, a power of two up to kRotationBlock; 1: no rotation.
  Rotation(uint64_t seed, int64_t version, int64_t block);
  // In place; values.size() is the block and `first` the place of values[0] among all coordinates.
  void Forth(absl::Span<float> values, int64_t first) const;
  void Back(absl::Span<float> values, int64_t first) const;

 private:
  int64_t block_;
  float scale_;
  lowbit::NoiseStream stream_;
};

// The block for `count` coordinates.
int64_t RotationBlockFor(int64_t count, bool rotate);

}  // namespace ds::federated
