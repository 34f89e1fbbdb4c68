#include "data/recipe/rand_augment.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace ds {
namespace {

// The strongest of each, at the highest magnitude.
constexpr double kMaxShear = 0.3, kMaxDegrees = 30, kMaxFactor = 0.9;
constexpr double kMaxShift = 150.0 / 331;  // of the side

// Degrees counter-clockwise about the picture's middle.
AffineMap Rotation(double degrees, const Picture& picture) {
  const double angle = -degrees * M_PI / 180;
  const double cos = std::cos(angle), sin = std::sin(angle);
  const double x = static_cast<double>(picture.width) / 2;
  const double y = static_cast<double>(picture.height) / 2;
  return {cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y};
}

double Factor(double range, SampleRandom& random) {
  return std::max(0.0, 1 - range + 2 * range * Uniform(random));
}

}  // namespace

void ApplyAffine(const Picture& picture, const AffineMap& map) {
  const int64_t area = picture.height * picture.width;
  const std::vector<uint8_t> from(picture.planes.begin(), picture.planes.end());
  for (int64_t y = 0; y < picture.height; ++y) {
    for (int64_t x = 0; x < picture.width; ++x) {
      const double at_x = static_cast<double>(x) + 0.5, at_y = static_cast<double>(y) + 0.5;
      const auto in_x = static_cast<int64_t>(std::floor(map.a * at_x + map.b * at_y + map.c));
      const auto in_y = static_cast<int64_t>(std::floor(map.d * at_x + map.e * at_y + map.f));
      const bool inside = in_x >= 0 && in_x < picture.width && in_y >= 0 && in_y < picture.height;
      for (int64_t c = 0; c < picture.channels; ++c) {
        picture.planes[static_cast<size_t>(c * area + y * picture.width + x)] =
            inside ? from[static_cast<size_t>(c * area + in_y * picture.width + in_x)] : uint8_t{0};
      }
    }
  }
}

void JitterColors(const AugmentOptions& options, const Picture& picture, SampleRandom& random) {
  // All are drawn, so that switching one off leaves the others alone.
  const double brightness = Factor(options.brightness, random);
  const double contrast = Factor(options.contrast, random);
  const double saturation = Factor(options.saturation, random);
  const double hue = options.hue * (2 * Uniform(random) - 1);
  std::array<int, 4> order = {0, 1, 2, 3};
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.Below(i)]);
  for (const int operation : order) {
    if (operation == 0 && options.brightness > 0) AdjustBrightness(picture, brightness);
    if (operation == 1 && options.contrast > 0) AdjustContrast(picture, contrast);
    if (operation == 2 && options.saturation > 0) AdjustSaturation(picture, saturation);
    if (operation == 3 && options.hue > 0) AdjustHue(picture, hue);
  }
}

void ApplyOperation(int operation, int64_t magnitude, double sign, const Picture& picture) {
  const double strength =
      static_cast<double>(magnitude) / static_cast<double>(kRandAugmentMagnitudes - 1);
  const double factor = 1 + sign * kMaxFactor * strength;
  const auto shift = [&](int64_t side) {
    return sign * std::trunc(kMaxShift * static_cast<double>(side) * strength);
  };
  switch (operation) {
    case 0:
      return;
    case 1:
      return ApplyAffine(picture, {.b = sign * kMaxShear * strength});
    case 2:
      return ApplyAffine(picture, {.d = sign * kMaxShear * strength});
    case 3:
      return ApplyAffine(picture, {.c = -shift(picture.width)});
    case 4:
      return ApplyAffine(picture, {.f = -shift(picture.height)});
    case 5:
      return ApplyAffine(picture, Rotation(sign * kMaxDegrees * strength, picture));
    case 6:
      return AdjustBrightness(picture, factor);
    case 7:
      return AdjustSaturation(picture, factor);
    case 8:
      return AdjustContrast(picture, factor);
    case 9:
      return AdjustSharpness(picture, factor);
    case 10:
      return Posterize(picture, 8 - static_cast<int>(std::lround(strength * 4)));
    case 11:
      return Solarize(picture, static_cast<int>(std::ceil(255 * (1 - strength))));
    case 12:
      return AutoContrast(picture);
    default:
      return Equalize(picture);
  }
}

void RandAugment(const AugmentOptions& options, const Picture& picture, SampleRandom& random) {
  for (int64_t i = 0; i < options.rand_augment; ++i) {
    const int operation = static_cast<int>(random.Below(kRandAugmentOperations));
    const double sign = random.Below(2) == 1 ? -1 : 1;
    ApplyOperation(operation, options.rand_augment_magnitude, sign, picture);
  }
}

}  // namespace ds
