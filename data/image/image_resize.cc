#include "data/image/image_resize.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/check.h"

namespace ds {
namespace {

constexpr int kWeightBits = 14;  // weights of one output pixel sum to 1 << kWeightBits
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// The input pixels that make each output pixel of a line: `count` weights from `first` on.
struct Taps {
  int64_t first = 0, count = 0;
  const int16_t* weights = nullptr;
};

struct LineTaps {
  std::vector<Taps> taps;
  std::vector<int16_t> weights;
  int64_t first = 0, end = 0;  // input pixels that are looked at
};

// A part of a line: it begins at `begin`, may do so between pixels, and is `extent` long. `limit`
// pixels are there.
struct Part {
  double begin = 0, extent = 0;
  int64_t limit = 0;
};

// Taps of output pixels crop..crop+count-1 of a part that is resized to `to` pixels. What lies
// outside the part is not looked at.
LineTaps MakeTaps(const Part& part, int64_t to, int64_t crop, int64_t count) {
  const double scale = part.extent / static_cast<double>(to);
  const double radius = std::max(scale, 1.0);
  const auto lowest =
      std::clamp<int64_t>(static_cast<int64_t>(std::floor(part.begin)), 0, part.limit - 1);
  const auto highest = std::clamp<int64_t>(
      static_cast<int64_t>(std::ceil(part.begin + part.extent)) - 1, lowest, part.limit - 1);
  LineTaps line;
  line.taps.resize(static_cast<size_t>(count));
  std::vector<size_t> starts;
  std::vector<double> exact;
  for (int64_t i = 0; i < count; ++i) {
    const double centre = part.begin + (static_cast<double>(crop + i) + 0.5) * scale - 0.5;
    const auto low =
        std::clamp<int64_t>(static_cast<int64_t>(std::floor(centre - radius)), lowest, highest);
    const auto high =
        std::clamp<int64_t>(static_cast<int64_t>(std::ceil(centre + radius)), low, highest);
    exact.clear();
    double sum = 0.0;
    for (int64_t p = low; p <= high; ++p) {
      const double distance = std::abs(static_cast<double>(p) - centre) / radius;
      exact.push_back(std::max(0.0, 1.0 - distance));
      sum += exact.back();
    }
    line.taps[static_cast<size_t>(i)] = {low, high - low + 1, nullptr};
    starts.push_back(line.weights.size());
    int32_t left = 1 << kWeightBits;
    size_t largest = 0;
    for (size_t k = 0; k < exact.size(); ++k) {
      const long weight = std::lround(exact[k] / sum * (1 << kWeightBits));
      line.weights.push_back(static_cast<int16_t>(weight));
      left -= static_cast<int32_t>(weight);
      if (exact[k] > exact[largest]) largest = k;
    }
    // So that a flat picture stays exactly as it is.
    int16_t& most = line.weights[starts.back() + largest];
    most = static_cast<int16_t>(most + left);
  }
  for (size_t i = 0; i < starts.size(); ++i) line.taps[i].weights = &line.weights[starts[i]];
  line.first = line.taps.front().first;
  line.end = line.taps.back().first + line.taps.back().count;
  return line;
}

uint8_t Rounded(int32_t sum) {
  return static_cast<uint8_t>(std::clamp((sum + kHalf) >> kWeightBits, 0, 255));
}

// One line of `kChannels` interleaved bytes.
template <int kChannels>
void NarrowLine(const uint8_t* line, const LineTaps& columns, uint8_t* out) {
  for (const Taps& taps : columns.taps) {
    const uint8_t* in = line + taps.first * kChannels;
    int32_t sums[kChannels] = {};
    for (int64_t k = 0; k < taps.count; ++k, in += kChannels) {
      for (int c = 0; c < kChannels; ++c) sums[c] += taps.weights[k] * in[c];
    }
    for (int c = 0; c < kChannels; ++c) *out++ = Rounded(sums[c]);
  }
}

// Adds a line times a weight: vectorised by the compiler, 16 by 16 bits to 32.
void AddLine(const uint8_t* in, int16_t weight, int64_t count, int32_t* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += static_cast<int16_t>(in[i]) * weight;
}

void Resize(const DecodedImage& image, const LineTaps& rows, const LineTaps& columns,
            absl::Span<uint8_t> planes) {
  const int64_t channels = image.channels;
  const auto height = static_cast<int64_t>(rows.taps.size());
  const auto width = static_cast<int64_t>(columns.taps.size());
  DS_CHECK(static_cast<int64_t>(planes.size()) == channels * height * width) << planes.size();
  // Horizontally first, for the input rows that are needed only.
  const int64_t stride = width * channels;
  std::vector<uint8_t> narrow(static_cast<size_t>((rows.end - rows.first) * stride));
  for (int64_t y = rows.first; y < rows.end; ++y) {
    const uint8_t* line = image.pixels.data() + y * image.width * channels;
    uint8_t* out = narrow.data() + (y - rows.first) * stride;
    channels == 3 ? NarrowLine<3>(line, columns, out) : NarrowLine<1>(line, columns, out);
  }
  std::vector<int32_t> sums(static_cast<size_t>(stride));
  for (int64_t y = 0; y < height; ++y) {
    const Taps& taps = rows.taps[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), 0);
    for (int64_t k = 0; k < taps.count; ++k) {
      AddLine(narrow.data() + (taps.first - rows.first + k) * stride, taps.weights[k], stride,
              sums.data());
    }
    for (int64_t c = 0; c < channels; ++c) {
      uint8_t* out = planes.data() + (c * height + y) * width;
      for (int64_t x = 0; x < width; ++x) out[x] = Rounded(sums[x * channels + c]);
    }
  }
}

}  // namespace

void ResizeAndCrop(const DecodedImage& image, int64_t side, absl::Span<uint8_t> planes) {
  const int64_t shorter = std::min(image.height, image.width);
  // Rounded to nearest; the shorter side becomes exactly `side`.
  const int64_t height = (image.height * side * 2 + shorter) / (2 * shorter);
  const int64_t width = (image.width * side * 2 + shorter) / (2 * shorter);
  const Part rows{0, static_cast<double>(image.height), image.height};
  const Part columns{0, static_cast<double>(image.width), image.width};
  Resize(image, MakeTaps(rows, height, (height - side) / 2, side),
         MakeTaps(columns, width, (width - side) / 2, side), planes);
}

void ResizeBox(const DecodedImage& image, const RealBox& box, int64_t height, int64_t width,
               absl::Span<uint8_t> planes) {
  Resize(image, MakeTaps({box.y, box.height, image.height}, height, 0, height),
         MakeTaps({box.x, box.width, image.width}, width, 0, width), planes);
}

DecodedImage FromPlanes(absl::Span<const uint8_t> planes, int64_t channels, int64_t height,
                        int64_t width) {
  const int64_t area = height * width;
  DecodedImage image{height, width, channels, std::vector<uint8_t>(planes.size())};
  for (int64_t i = 0; i < area; ++i) {
    for (int64_t c = 0; c < channels; ++c) image.pixels[i * channels + c] = planes[c * area + i];
  }
  return image;
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
