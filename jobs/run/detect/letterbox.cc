#include "jobs/run/detect/letterbox.h"

#include <algorithm>
#include <cmath>

#include "data/image/image_resize.h"

namespace ds {
namespace {

constexpr uint8_t kGray = 114;

int64_t Scaled(int64_t extent, double scale, int64_t most) {
  return std::clamp<int64_t>(std::lround(static_cast<double>(extent) * scale), 1, most);
}

// An odd pixel goes behind the picture.
int64_t Before(int64_t free) { return free / 2; }

}  // namespace

Letterbox FitInto(const ImageSize& picture, const ImageSize& input) {
  const double scale =
      std::min(static_cast<double>(input.height) / static_cast<double>(picture.height),
               static_cast<double>(input.width) / static_cast<double>(picture.width));
  const int64_t height = Scaled(picture.height, scale, input.height);
  const int64_t width = Scaled(picture.width, scale, input.width);
  return {scale, Before(input.width - width), Before(input.height - height), width, height};
}

std::vector<float> LetterboxedPicture(const DecodedImage& picture, const ImageSize& input) {
  const Letterbox place = FitInto({picture.height, picture.width}, input);
  std::vector<uint8_t> planes(static_cast<size_t>(picture.channels * place.height * place.width));
  const RealBox whole{0, 0, static_cast<double>(picture.height),
                      static_cast<double>(picture.width)};
  ResizeBox(picture, whole, place.height, place.width, absl::MakeSpan(planes));
  std::vector<float> values(static_cast<size_t>(picture.channels * input.height * input.width),
                            kGray / 255.0F);
  for (int64_t c = 0; c < picture.channels; ++c) {
    for (int64_t y = 0; y < place.height; ++y) {
      const uint8_t* from = &planes[static_cast<size_t>((c * place.height + y) * place.width)];
      float* to = &values[static_cast<size_t>((c * input.height + place.top + y) * input.width +
                                              place.left)];
      std::transform(from, from + place.width, to,
                     [](uint8_t value) { return static_cast<float>(value) / 255.0F; });
    }
  }
  return values;
}

Box InPicture(const Box& box, const Letterbox& letterbox, const ImageSize& picture) {
  const auto along = [&](float place, int64_t before, int64_t extent) {
    const double at = (static_cast<double>(place) - static_cast<double>(before)) / letterbox.scale;
    return static_cast<float>(std::clamp(at, 0.0, static_cast<double>(extent)));
  };
  Box result = box;
  result.x0 = along(box.x0, letterbox.left, picture.width);
  result.x1 = along(box.x1, letterbox.left, picture.width);
  result.y0 = along(box.y0, letterbox.top, picture.height);
  result.y1 = along(box.y1, letterbox.top, picture.height);
  return result;
}

}  // namespace ds
