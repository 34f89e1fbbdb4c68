#include "jobs/run/detect/letterbox.h"

#include <gtest/gtest.h>

namespace ds {
namespace {

DecodedImage Flat(int64_t height, int64_t width, uint8_t value) {
  return {height, width, 3, std::vector<uint8_t>(static_cast<size_t>(height * width * 3), value)};
}

// Sizes and paddings that ultralytics' LetterBox (auto=False) gives.
TEST(FitInto, ScalesTheLongerSideAndCentresTheOther) {
  const Letterbox wide = FitInto({480, 640}, {320, 320});
  EXPECT_EQ(wide.scale, 0.5);
  EXPECT_EQ(wide.height, 240);
  EXPECT_EQ(wide.width, 320);
  EXPECT_EQ(wide.top, 40);
  EXPECT_EQ(wide.left, 0);
  const Letterbox tall = FitInto({1080, 810}, {640, 640});  // its bus.jpg
  EXPECT_EQ(tall.height, 640);
  EXPECT_EQ(tall.width, 480);
  EXPECT_EQ(tall.left, 80);
  const Letterbox odd = FitInto({99, 100}, {100, 100});
  EXPECT_EQ(odd.top, 0) << "the odd line goes below";
  const Letterbox small = FitInto({10, 20}, {320, 320});
  EXPECT_EQ(small.scale, 16);
  EXPECT_EQ(FitInto({1, 100000}, {320, 320}).height, 1);
}

TEST(LetterboxedPicture, HasThePictureInTheMiddleAndGrayBesideIt) {
  const std::vector<float> values = LetterboxedPicture(Flat(4, 8, 255), {8, 8});
  ASSERT_EQ(values.size(), 3U * 8 * 8);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t row = i / 8 % 8;
    EXPECT_EQ(values[i], row >= 2 && row < 6 ? 1.0F : 114 / 255.0F) << i;
  }
}

TEST(LetterboxedPicture, OfTheInputsSizeStaysAsItIs) {
  DecodedImage picture = Flat(2, 3, 0);
  for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = static_cast<uint8_t>(i);
  const std::vector<float> values = LetterboxedPicture(picture, {2, 3});
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(values[c * 6 + i], static_cast<float>(i * 3 + c) / 255.0F);
  }
}

TEST(InPicture, UndoesTheLetterbox) {
  const ImageSize picture{480, 640};
  const Letterbox letterbox = FitInto(picture, {320, 320});
  const Box box = InPicture({10, 50, 110, 90, 0.5F, 2}, letterbox, picture);
  EXPECT_FLOAT_EQ(box.x0, 20);
  EXPECT_FLOAT_EQ(box.y0, 20);
  EXPECT_FLOAT_EQ(box.x1, 220);
  EXPECT_FLOAT_EQ(box.y1, 100);
  EXPECT_EQ(box.score, 0.5F);
  EXPECT_EQ(box.label, 2);
  const Box cut = InPicture({-5, 0, 400, 400, 0, 0}, letterbox, picture);
  EXPECT_EQ(cut.x0, 0);
  EXPECT_EQ(cut.y0, 0);
  EXPECT_EQ(cut.x1, 640);
  EXPECT_EQ(cut.y1, 480);
}

}  // namespace
}  // namespace ds
