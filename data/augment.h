// From the bytes of a picture to the network's input in one pass: crop, flip, cutout, normalise,
// lay out. What is drawn for a sample depends on (seed, epoch, sample index) alone.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "data/loader.h"

namespace ds {

// What happens to one sample.
struct AugmentDraw {
  int64_t dy = 0, dx = 0;  // output (y, x) shows input (y + dy, x + dx), before the flip
  bool flip = false;       // left to right, of the cropped picture
  int64_t cut_y0 = 0, cut_y1 = 0, cut_x0 = 0, cut_x1 = 0;  // set to the mean; empty if y0 == y1
};

// Crop: dy and dx uniform in -padding..padding. Flip: with probability 1/2. Cutout (DeVries and
// Taylor, 2017): a square around a uniform pixel, clipped at the border.
AugmentDraw DrawAugment(const AugmentOptions& options, int64_t height, int64_t width, uint64_t seed,
                        int64_t epoch, int64_t sample);

class ImageTransform {
 public:
  // `mean` and `stddev` have a value a channel, of pixels in [0, 1]; the layout is NHWC if
  // `channels_last`.
  ImageTransform(int64_t channels, int64_t height, int64_t width, absl::Span<const float> mean,
                 absl::Span<const float> stddev, bool channels_last);

  // `planes`: [C, H, W] bytes. `out`: C * H * W floats, (pixel / 255 - mean) / stddev; 0, that is
  // the mean, where the crop looks beyond the border and inside the cutout. Thread-safe.
  void Apply(const AugmentDraw& draw, absl::Span<const uint8_t> planes, float* out) const;

 private:
  using Table = std::array<float, 256>;  // normalised value of each byte

  template <int kStride>
  void ApplyPlane(const AugmentDraw& draw, const uint8_t* plane, const Table& table,
                  float* out) const;
  void CutOut(const AugmentDraw& draw, float* out) const;

  int64_t channels_, height_, width_;
  bool channels_last_;
  std::vector<Table> tables_;
};

}  // namespace ds
