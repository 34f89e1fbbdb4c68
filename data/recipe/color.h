// Colour operations on the bytes of a picture, [C, H, W] with C 1 (gray) or 3 (RGB), in place.
// Their definitions are Pillow's (ImageEnhance, ImageOps), so that recipes written for it mean the
// same.
#pragma once

#include <cstdint>

#include "absl/types/span.h"

namespace ds {

struct Picture {
  absl::Span<uint8_t> planes;
  int64_t channels = 0, height = 0, width = 0;
};

// Each blends with what the factor 0 gives: black, the mean gray, the gray picture, a smoothed one.
// Factors are >= 0; 1 leaves the picture.
void AdjustBrightness(const Picture& picture, double factor);
void AdjustContrast(const Picture& picture, double factor);
void AdjustSaturation(const Picture& picture, double factor);  // gray: unchanged
void AdjustSharpness(const Picture& picture, double factor);
// Turns the hue by `turn` of the circle, in [-0.5, 0.5], in steps of 1/256. Gray: unchanged.
void AdjustHue(const Picture& picture, double turn);

// Keeps the upper `bits` of each byte, 0..8.
void Posterize(const Picture& picture, int bits);
// Inverts what is at least `threshold`, 0..256.
void Solarize(const Picture& picture, int threshold);
// Stretches each channel to 0..255.
void AutoContrast(const Picture& picture);
// Gives each channel a flat histogram.
void Equalize(const Picture& picture);

}  // namespace ds
