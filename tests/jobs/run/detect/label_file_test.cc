#include "jobs/run/detect/label_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ds {
namespace {

using ::testing::HasSubstr;

constexpr ImageSize kPicture{100, 200};

TEST(ParseLabelFile, GivesCornersInPixels) {
  const auto boxes =
      ParseLabelFile("3 0.5 0.5 0.25 0.5\n\n0\t0.1 0.2  0.2 0.2 \r\n", "a.txt", kPicture);
  ASSERT_TRUE(boxes.ok()) << boxes.status();
  ASSERT_EQ(boxes->size(), 2U);
  const Box& box = boxes->front();
  EXPECT_EQ(box.label, 3);
  EXPECT_FLOAT_EQ(box.x0, 75);
  EXPECT_FLOAT_EQ(box.y0, 25);
  EXPECT_FLOAT_EQ(box.x1, 125);
  EXPECT_FLOAT_EQ(box.y1, 75);
  EXPECT_EQ(boxes->back().label, 0);
  EXPECT_TRUE(ParseLabelFile("", "a.txt", kPicture)->empty());
}

TEST(ParseLabelFile, SaysTheLineThatIsNoBox) {
  for (const char* bad :
       {"0 0.5 0.5 0.5", "0 0.5 0.5 0.5 0.5 0.5", "x 0.5 0.5 0.5 0.5", "-1 0.5 0.5 0.5 0.5",
        "0 1.5 0.5 0.5 0.5", "0 0.5 nan 0.5 0.5", "0.5 0.5 0.5 0.5 0.5", "0 0.5 0.5 0.5 -0.1"}) {
    const auto boxes = ParseLabelFile(std::string("1 0 0 0 0\n") + bad, "a.txt", kPicture);
    EXPECT_THAT(std::string(boxes.status().message()), HasSubstr("a.txt:2: '")) << bad;
  }
}

}  // namespace
}  // namespace ds
