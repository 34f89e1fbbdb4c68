#include "data/recipe/resized_crop.h"

#include <algorithm>
#include <cmath>

namespace ds {
namespace {

constexpr double kLowestRatio = 3.0 / 4, kHighestRatio = 4.0 / 3;
constexpr int kTries = 10;

int64_t RoundedPixels(double length) { return std::llround(length); }

PixelBox Centred(int64_t height, int64_t width, int64_t of_height, int64_t of_width) {
  height = std::clamp<int64_t>(height, 1, of_height);
  width = std::clamp<int64_t>(width, 1, of_width);
  return {(of_height - height) / 2, (of_width - width) / 2, height, width};
}

}  // namespace

PixelBox DrawResizedCrop(double least, int64_t height, int64_t width, SampleRandom& random) {
  const double area = static_cast<double>(height) * static_cast<double>(width);
  for (int i = 0; i < kTries; ++i) {
    const double part = area * (least + (1 - least) * Uniform(random));
    const double spread = std::log(kHighestRatio) - std::log(kLowestRatio);
    const double ratio = std::exp(std::log(kLowestRatio) + spread * Uniform(random));
    const int64_t w = RoundedPixels(std::sqrt(part * ratio));
    const int64_t h = RoundedPixels(std::sqrt(part / ratio));
    if (w < 1 || w > width || h < 1 || h > height) continue;
    const auto y = static_cast<int64_t>(random.Below(static_cast<uint64_t>(height - h + 1)));
    const auto x = static_cast<int64_t>(random.Below(static_cast<uint64_t>(width - w + 1)));
    return {y, x, h, w};
  }
  const double ratio = static_cast<double>(width) / static_cast<double>(height);
  if (ratio < kLowestRatio) {
    return Centred(RoundedPixels(static_cast<double>(width) / kLowestRatio), width, height, width);
  }
  if (ratio > kHighestRatio) {
    return Centred(height, RoundedPixels(static_cast<double>(height) * kHighestRatio), height,
                   width);
  }
  return {0, 0, height, width};
}

}  // namespace ds
