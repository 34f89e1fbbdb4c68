#include "data/recipe/color.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace ds {
namespace {

using Table = std::array<uint8_t, 256>;
using Histogram = std::array<int64_t, 256>;

int64_t Area(const Picture& picture) { return picture.height * picture.width; }

absl::Span<uint8_t> Plane(const Picture& picture, int64_t channel) {
  const auto area = static_cast<size_t>(Area(picture));
  return picture.planes.subspan(static_cast<size_t>(channel) * area, area);
}

// Rounded towards 0, as Pillow's blend.
uint8_t Blend(int from, int to, double factor) {
  return static_cast<uint8_t>(std::clamp(from + factor * (to - from), 0.0, 255.0));
}

// ITU-R BT.601 luma in 1/65536.
uint8_t Gray(int red, int green, int blue) {
  return static_cast<uint8_t>((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
}

uint8_t GrayAt(const Picture& picture, int64_t i) {
  const uint8_t* p = picture.planes.data() + i;
  if (picture.channels == 1) return *p;
  return Gray(p[0], p[Area(picture)], p[2 * Area(picture)]);
}

void Map(absl::Span<uint8_t> bytes, const Table& table) {
  for (uint8_t& byte : bytes) byte = table[byte];
}

void BlendAll(const Picture& picture, int from, double factor) {
  Table table;
  for (int i = 0; i < 256; ++i) table[static_cast<size_t>(i)] = Blend(from, i, factor);
  Map(picture.planes, table);
}

Histogram Count(absl::Span<const uint8_t> bytes) {
  Histogram histogram = {};
  for (const uint8_t byte : bytes) ++histogram[byte];
  return histogram;
}

// Hue, saturation and value in 0..255, as Pillow keeps them.
struct Hsv {
  int hue = 0, saturation = 0, value = 0;
};

Hsv ToHsv(int red, int green, int blue) {
  const int most = std::max({red, green, blue}), least = std::min({red, green, blue});
  if (most == least) return {0, 0, most};
  const float spread = static_cast<float>(most - least);
  const auto share = [&](int value) { return static_cast<float>(most - value) / spread; };
  float hue;
  if (red == most) {
    hue = share(blue) - share(green);
  } else if (green == most) {
    hue = 2 + share(red) - share(blue);
  } else {
    hue = 4 + share(green) - share(red);
  }
  hue = std::fmod(hue / 6 + 1, 1.0f);
  return {static_cast<int>(hue * 255), static_cast<int>(spread / static_cast<float>(most) * 255),
          most};
}

std::array<uint8_t, 3> ToRgb(const Hsv& hsv) {
  const auto value = static_cast<float>(hsv.value);
  const float sector = static_cast<float>(hsv.hue) * 6 / 255;
  const float saturation = static_cast<float>(hsv.saturation) / 255;
  const float fraction = sector - std::floor(sector);
  const auto byte = [](float x) {
    return static_cast<uint8_t>(std::clamp(std::lround(x), 0L, 255L));
  };
  const uint8_t v = byte(value), p = byte(value * (1 - saturation)),
                q = byte(value * (1 - saturation * fraction)),
                t = byte(value * (1 - saturation * (1 - fraction)));
  switch (static_cast<int>(sector) % 6) {
    case 0:
      return {v, t, p};
    case 1:
      return {q, v, p};
    case 2:
      return {p, v, t};
    case 3:
      return {p, q, v};
    case 4:
      return {t, p, v};
    default:
      return {v, p, q};
  }
}

// 3 x 3, the middle five times, the rest once; the border stays.
std::vector<uint8_t> Smoothed(absl::Span<const uint8_t> plane, int64_t height, int64_t width) {
  std::vector<uint8_t> out(plane.begin(), plane.end());
  for (int64_t y = 1; y + 1 < height; ++y) {
    for (int64_t x = 1; x + 1 < width; ++x) {
      const uint8_t* at = plane.data() + y * width + x;
      int sum = 4 * at[0];
      for (int64_t dy = -width; dy <= width; dy += width) sum += at[dy - 1] + at[dy] + at[dy + 1];
      out[static_cast<size_t>(y * width + x)] = static_cast<uint8_t>(sum / 13.0 + 0.5);
    }
  }
  return out;
}

}  // namespace

void AdjustBrightness(const Picture& picture, double factor) { BlendAll(picture, 0, factor); }

void AdjustContrast(const Picture& picture, double factor) {
  int64_t sum = 0;
  for (int64_t i = 0; i < Area(picture); ++i) sum += GrayAt(picture, i);
  const double mean = static_cast<double>(sum) / static_cast<double>(Area(picture));
  BlendAll(picture, static_cast<int>(mean + 0.5), factor);
}

void AdjustSaturation(const Picture& picture, double factor) {
  if (picture.channels == 1) return;
  for (int64_t i = 0; i < Area(picture); ++i) {
    const int gray = GrayAt(picture, i);
    for (int64_t c = 0; c < picture.channels; ++c) {
      uint8_t& byte = picture.planes[static_cast<size_t>(c * Area(picture) + i)];
      byte = Blend(gray, byte, factor);
    }
  }
}

void AdjustSharpness(const Picture& picture, double factor) {
  for (int64_t c = 0; c < picture.channels; ++c) {
    const absl::Span<uint8_t> plane = Plane(picture, c);
    const std::vector<uint8_t> smooth = Smoothed(plane, picture.height, picture.width);
    for (size_t i = 0; i < plane.size(); ++i) plane[i] = Blend(smooth[i], plane[i], factor);
  }
}

void AdjustHue(const Picture& picture, double turn) {
  if (picture.channels == 1) return;
  const int steps = static_cast<int>(turn * 255) & 0xff;
  const auto area = static_cast<size_t>(Area(picture));
  uint8_t* const bytes = picture.planes.data();
  for (size_t i = 0; i < area; ++i) {
    Hsv hsv = ToHsv(bytes[i], bytes[area + i], bytes[2 * area + i]);
    hsv.hue = (hsv.hue + steps) & 0xff;
    const std::array<uint8_t, 3> rgb = ToRgb(hsv);
    for (size_t c = 0; c < 3; ++c) bytes[c * area + i] = rgb[c];
  }
}

void Posterize(const Picture& picture, int bits) {
  const auto mask = static_cast<uint8_t>(0xff00 >> bits);
  for (uint8_t& byte : picture.planes) byte &= mask;
}

void Solarize(const Picture& picture, int threshold) {
  for (uint8_t& byte : picture.planes) {
    if (byte >= threshold) byte = static_cast<uint8_t>(255 - byte);
  }
}

void AutoContrast(const Picture& picture) {
  for (int64_t c = 0; c < picture.channels; ++c) {
    const absl::Span<uint8_t> plane = Plane(picture, c);
    const auto [low, high] = std::minmax_element(plane.begin(), plane.end());
    if (*high <= *low) continue;
    const double scale = 255.0 / (*high - *low), offset = -*low * scale;
    Table table;
    for (int i = 0; i < 256; ++i)
      table[static_cast<size_t>(i)] =
          static_cast<uint8_t>(std::clamp(i * scale + offset, 0.0, 255.0));
    Map(plane, table);
  }
}

void Equalize(const Picture& picture) {
  for (int64_t c = 0; c < picture.channels; ++c) {
    const absl::Span<uint8_t> plane = Plane(picture, c);
    const Histogram histogram = Count(plane);
    int64_t last = 0;
    for (const int64_t count : histogram) last = count > 0 ? count : last;
    const int64_t step = (Area(picture) - last) / 255;
    if (step == 0) continue;
    Table table;
    int64_t below = step / 2;
    for (size_t i = 0; i < histogram.size(); ++i) {
      table[i] = static_cast<uint8_t>(std::min<int64_t>(255, below / step));
      below += histogram[i];
    }
    Map(plane, table);
  }
}

}  // namespace ds
