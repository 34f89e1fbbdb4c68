#include "data/image/image_resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace ds {
namespace {

constexpr int kWeightBits = 14;  // weights of one output pixel sum to 1 << kWeightBits
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// The input pixels that make one output pixel.
struct Taps {
  int64_t first = 0;
  std::vector<int32_t> weights;
};

// Taps of output pixels crop..crop+count-1 of a line of `from` pixels resized to `to`.
std::vector<Taps> MakeTaps(int64_t from, int64_t to, int64_t crop, int64_t count) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double radius = std::max(scale, 1.0);
  std::vector<Taps> all(count);
  for (int64_t i = 0; i < count; ++i) {
    const double centre = (static_cast<double>(crop + i) + 0.5) * scale - 0.5;
    const auto low = std::max<int64_t>(0, static_cast<int64_t>(std::floor(centre - radius)));
    const auto high = std::min<int64_t>(from - 1, static_cast<int64_t>(std::ceil(centre + radius)));
    std::vector<double> exact;
    double sum = 0.0;
    for (int64_t p = low; p <= high; ++p) {
      const double distance = std::abs(static_cast<double>(p) - centre) / radius;
      exact.push_back(std::max(0.0, 1.0 - distance));
      sum += exact.back();
    }
    Taps& taps = all[i];
    taps.first = low;
    int32_t left = 1 << kWeightBits;
    size_t largest = 0;
    for (size_t k = 0; k < exact.size(); ++k) {
      taps.weights.push_back(
          static_cast<int32_t>(std::lround(exact[k] / sum * (1 << kWeightBits))));
      left -= taps.weights.back();
      if (exact[k] > exact[largest]) largest = k;
    }
    taps.weights[largest] += left;  // so that a flat picture stays exactly as it is
  }
  return all;
}

uint8_t Rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + kHalf) >> kWeightBits, 0, 255));
}

}  // namespace

void ResizeAndCrop(const DecodedImage& image, int64_t side, absl::Span<uint8_t> planes) {
  const int64_t channels = image.channels;
  DS_CHECK(static_cast<int64_t>(planes.size()) == channels * side * side) << planes.size();
  const int64_t shorter = std::min(image.height, image.width);
  // Rounded to nearest; the shorter side becomes exactly `side`.
  const int64_t height = (image.height * side * 2 + shorter) / (2 * shorter);
  const int64_t width = (image.width * side * 2 + shorter) / (2 * shorter);
  const std::vector<Taps> rows = MakeTaps(image.height, height, (height - side) / 2, side);
  const std::vector<Taps> columns = MakeTaps(image.width, width, (width - side) / 2, side);

  const int64_t first_row = rows.front().first;
  const int64_t end_row = rows.back().first + static_cast<int64_t>(rows.back().weights.size());
  // Horizontally first, for the input rows that are needed only.
  std::vector<uint8_t> narrow((end_row - first_row) * side * channels);
  for (int64_t y = first_row; y < end_row; ++y) {
    const uint8_t* line = image.pixels.data() + y * image.width * channels;
    uint8_t* out = narrow.data() + (y - first_row) * side * channels;
    for (const Taps& taps : columns) {
      for (int64_t c = 0; c < channels; ++c) {
        const uint8_t* in = line + taps.first * channels + c;
        int32_t sum = 0;
        for (size_t k = 0; k < taps.weights.size(); ++k) sum += taps.weights[k] * in[k * channels];
        *out++ = Rounded(sum);
      }
    }
  }
  std::vector<int32_t> sums(side * channels);
  for (int64_t y = 0; y < side; ++y) {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t k = 0; k < rows[y].weights.size(); ++k) {
      const uint8_t* in = narrow.data() + (rows[y].first - first_row + k) * side * channels;
      for (int64_t i = 0; i < side * channels; ++i) sums[i] += rows[y].weights[k] * in[i];
    }
    for (int64_t x = 0; x < side; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        planes[(c * side + y) * side + x] = Rounded(sums[x * channels + c]);
      }
    }
  }
}

void ToPlanes(const DecodedImage& image, absl::Span<uint8_t> planes) {
  const int64_t area = image.height * image.width;
  DS_CHECK(static_cast<int64_t>(planes.size()) == area * image.channels) << planes.size();
  for (int64_t i = 0; i < area; ++i) {
    for (int64_t c = 0; c < image.channels; ++c) {
      planes[c * area + i] = image.pixels[i * image.channels + c];
    }
  }
}

}  // namespace ds
