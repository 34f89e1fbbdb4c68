#include "jobs/run/detect/drawing.h"

#include <gtest/gtest.h>

#include <array>

#include "data/image/png_encoder.h"
#include "jobs/run/detect/glyphs.h"

namespace ds {
namespace {

DecodedImage Black(int64_t height, int64_t width) {
  return {height, width, 3, std::vector<uint8_t>(static_cast<size_t>(height * width * 3), 0)};
}

std::array<int, 3> At(const DecodedImage& picture, int64_t y, int64_t x) {
  const uint8_t* pixel = &picture.pixels[static_cast<size_t>((y * picture.width + x) * 3)];
  return {pixel[0], pixel[1], pixel[2]};
}

constexpr std::array<int, 3> kBlack = {0, 0, 0};

TEST(DrawBoxes, FramesTheBoxAndLeavesWhatIsInside) {
  DecodedImage picture = Black(60, 80);
  const Box box{10, 20, 40, 50, 0.5F, 1};
  DrawBoxes({&box, 1}, {std::string("A")}, picture);
  const auto color = At(picture, 20, 10);
  EXPECT_NE(color, kBlack);
  for (const auto& [y, x] : {std::pair{20, 39}, {49, 10}, {49, 39}, {35, 10}, {35, 39}, {49, 25}})
    EXPECT_EQ(At(picture, y, x), color) << y << " " << x;
  for (const auto& [y, x] : {std::pair{35, 25}, {35, 9}, {35, 40}, {50, 25}, {35, 12}})
    EXPECT_EQ(At(picture, y, x), kBlack) << y << " " << x;
}

TEST(DrawBoxes, WritesTheCaptionAboveTheBox) {
  DecodedImage picture = Black(60, 80);
  const Box box{10, 20, 40, 50, 0.5F, 0};
  DrawBoxes({&box, 1}, {std::string("t")}, picture);
  const Glyph& glyph = GlyphOf('T');
  for (int row = 0; row < kGlyphHeight; ++row) {
    for (int column = 0; column < kGlyphWidth; ++column) {
      const bool ink = (glyph[static_cast<size_t>(row)] >> (kGlyphWidth - 1 - column) & 1) != 0;
      EXPECT_EQ(At(picture, 12 + row, 11 + column) == (std::array<int, 3>{255, 255, 255}), ink);
    }
  }
}

TEST(DrawBoxes, CutsWhatLiesOutsideThePicture) {
  DecodedImage picture = Black(20, 20);
  const std::vector<Box> boxes = {
      {-30, -30, 50, 50, 0.5F, 0}, {0, 0, 20, 20, 0.5F, 1}, {19, 19, 19, 19, 0.5F, 2}};
  DrawBoxes(boxes, {std::string(100, 'W'), std::string(), std::string("\xff")}, picture);
  EXPECT_EQ(picture.pixels.size(), 20U * 20 * 3);
}

TEST(GlyphOf, KnowsSmallLettersAsCapitalsAndOthersAsAQuestionMark) {
  EXPECT_EQ(GlyphOf('a'), GlyphOf('A'));
  EXPECT_EQ(GlyphOf('\xe9'), GlyphOf('?'));
  EXPECT_NE(GlyphOf('0'), GlyphOf('O'));
}

TEST(EncodePng, GivesWhatTheDecoderReads) {
  for (const int64_t channels : {1, 3}) {
    DecodedImage picture{5, 7, channels, {}};
    for (int64_t i = 0; i < 5 * 7 * channels; ++i)
      picture.pixels.push_back(static_cast<uint8_t>(i * 37));
    const auto png = EncodePng(picture);
    ASSERT_TRUE(png.ok()) << png.status();
    const ByteSpan bytes(reinterpret_cast<const uint8_t*>(png->data()), png->size());
    const auto read = DecodeImage(bytes, "x", {.channels = channels});
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->pixels, picture.pixels);
    EXPECT_EQ(read->width, 7);
  }
}

}  // namespace
}  // namespace ds
