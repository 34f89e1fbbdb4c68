#include "jobs/run/detect/drawing.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "jobs/run/detect/glyphs.h"

namespace ds {
namespace {

using Color = std::array<uint8_t, 3>;

constexpr Color kColors[] = {{230, 25, 75},  {60, 180, 75}, {0, 130, 200},  {245, 130, 48},
                             {145, 30, 180}, {0, 150, 150}, {240, 50, 230}, {120, 120, 0},
                             {170, 110, 40}, {128, 0, 0},   {0, 0, 128},    {90, 90, 90}};
constexpr Color kWhite = {255, 255, 255};

class Canvas {
 public:
  explicit Canvas(DecodedImage& picture) : picture_(picture) {}

  // [y0, y1) x [x0, x1), cut to the picture.
  void Fill(int64_t y0, int64_t x0, int64_t y1, int64_t x1, const Color& color) {
    x0 = std::max<int64_t>(x0, 0);
    x1 = std::min(x1, picture_.width);
    for (int64_t y = std::max<int64_t>(y0, 0); y < std::min(y1, picture_.height); ++y) {
      for (int64_t x = x0; x < x1; ++x) {
        std::copy(color.begin(), color.end(),
                  picture_.pixels.begin() + (y * picture_.width + x) * 3);
      }
    }
  }

  void Frame(int64_t y0, int64_t x0, int64_t y1, int64_t x1, int64_t line, const Color& color) {
    Fill(y0, x0, y0 + line, x1, color);
    Fill(y1 - line, x0, y1, x1, color);
    Fill(y0, x0, y1, x0 + line, color);
    Fill(y0, x1 - line, y1, x1, color);
  }

  // Each pixel of a letter as `scale` x `scale` of the picture.
  void Write(int64_t y, int64_t x, absl::string_view text, int64_t scale, const Color& color) {
    for (const char letter : text) {
      const Glyph& glyph = GlyphOf(letter);
      for (int row = 0; row < kGlyphHeight; ++row) {
        for (int column = 0; column < kGlyphWidth; ++column) {
          if ((glyph[row] >> (kGlyphWidth - 1 - column) & 1) == 0) continue;
          const int64_t top = y + row * scale, left = x + column * scale;
          Fill(top, left, top + scale, left + scale, color);
        }
      }
      x += (kGlyphWidth + 1) * scale;
    }
  }

 private:
  DecodedImage& picture_;
};

}  // namespace

void DrawBoxes(absl::Span<const Box> boxes, absl::Span<const std::string> captions,
               DecodedImage& picture) {
  DS_CHECK(picture.channels == 3) << picture.channels;
  DS_CHECK(boxes.size() == captions.size()) << captions.size();
  constexpr int64_t kPixelsALine = 320;  // of the shorter side
  const int64_t scale =
      std::clamp<int64_t>(std::min(picture.height, picture.width) / kPixelsALine, 1, 16);
  Canvas canvas(picture);
  // The best one last, on top.
  for (size_t i = boxes.size(); i-- > 0;) {
    const Box& box = boxes[i];
    const auto pixel = [](float place) { return static_cast<int64_t>(std::lround(place)); };
    const Color& color = kColors[static_cast<size_t>(box.label) % std::size(kColors)];
    const int64_t y0 = pixel(box.y0), x0 = pixel(box.x0);
    canvas.Frame(y0, x0, pixel(box.y1), pixel(box.x1), 2 * scale, color);
    const int64_t height = (kGlyphHeight + 2) * scale;
    const auto letters = static_cast<int64_t>(captions[i].size());
    const int64_t top = std::max<int64_t>(y0 - height, 0);
    canvas.Fill(top, x0, top + height, x0 + (letters * (kGlyphWidth + 1) + 1) * scale, color);
    canvas.Write(top + scale, x0 + scale, captions[i], scale, kWhite);
  }
}

}  // namespace ds
