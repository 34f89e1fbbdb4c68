// Operations drawn at random on the bytes of a picture: colour jitter and RandAugment.
#pragma once

#include <cstdint>

#include "data/loader.h"
#include "data/recipe/color.h"
#include "data/sample_random.h"

namespace ds {

// output (x, y) shows input (a x + b y + c, d x + e y + f), by the nearest pixel, pixel centres at
// halves; what lies outside is 0.
struct AffineMap {
  double a = 1, b = 0, c = 0, d = 0, e = 1, f = 0;
};
void ApplyAffine(const Picture& picture, const AffineMap& map);

// Brightness, contrast, saturation and hue by factors drawn from options, in a drawn order.
void JitterColors(const AugmentOptions& options, const Picture& picture, SampleRandom& random);

// RandAugment (Cubuk et al. 2020), with the operations, ranges and 31 magnitudes of torchvision:
// identity, shears, translations, rotation, brightness, colour, contrast, sharpness, posterise,
// solarise, auto contrast, equalise; each of options.rand_augment steps draws one.
inline constexpr int kRandAugmentOperations = 14;
inline constexpr int64_t kRandAugmentMagnitudes = 31;
void RandAugment(const AugmentOptions& options, const Picture& picture, SampleRandom& random);
// One of them, 0..kRandAugmentOperations-1 in the order above; `sign` is 1 or -1 where there are
// two ways.
void ApplyOperation(int operation, int64_t magnitude, double sign, const Picture& picture);

}  // namespace ds
