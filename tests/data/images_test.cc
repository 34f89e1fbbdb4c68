// JPEG and PNG decoding, resizing, and the image folder.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/dataset.h"
#include "data/image/image_codec.h"
#include "data/image/image_resize.h"
#include "data/sets/open_dataset.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::AllOf;
using testing::Bytes;
using ::testing::HasSubstr;

// A smooth picture, which JPEG keeps well.
Bytes Gradient(int height, int width, int channels) {
  Bytes pixels;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < channels; ++c) {
        pixels.push_back(static_cast<uint8_t>(40 + (c + 1) * 50 * (x + y) / (height + width)));
      }
    }
  }
  return pixels;
}

int LargestDifference(const Bytes& a, const Bytes& b) {
  int largest = a.size() == b.size() ? 0 : 256;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

DecodedImage MustDecode(const Bytes& bytes, int64_t channels) {
  DecodeOptions options;
  options.channels = channels;
  auto image = DecodeImage(bytes, "x", options);
  EXPECT_TRUE(image.ok()) << image.status();
  return image.ok() ? *image : DecodedImage();
}

TEST(Png, IsExactWhateverItsKind) {
  const Bytes rgb = Gradient(5, 7, 3);
  EXPECT_EQ(MustDecode(testing::EncodePng(rgb, 5, 7, 3), 3).pixels, rgb);
  const Bytes gray = Gradient(7, 5, 1);
  EXPECT_EQ(MustDecode(testing::EncodePng(gray, 7, 5, 1), 1).pixels, gray);

  const DecodedImage spread = MustDecode(testing::EncodePng(gray, 7, 5, 1), 3);
  for (size_t i = 0; i < gray.size() * 3; ++i) EXPECT_EQ(spread.pixels[i], gray[i / 3]);

  Bytes rgba;
  for (size_t i = 0; i < rgb.size(); i += 3) {
    rgba.insert(rgba.end(), {rgb[i], rgb[i + 1], rgb[i + 2], static_cast<uint8_t>(i)});
  }
  EXPECT_EQ(MustDecode(testing::EncodePng(rgba, 5, 7, 4), 3).pixels, rgb);

  const DecodedImage deep = MustDecode(testing::EncodePng16(3, 11), 1);
  for (size_t i = 0; i < 33; ++i) EXPECT_EQ(deep.pixels[i], i);

  const DecodedImage palette = MustDecode(testing::EncodePngPalette(1, 2), 3);
  EXPECT_EQ(palette.pixels, (Bytes{255, 0, 0, 0, 0, 255}));
  // Luma of pure red and blue: 0.299 and 0.114 of 255.
  const Bytes luma = MustDecode(testing::EncodePngPalette(1, 2), 1).pixels;
  ASSERT_EQ(luma.size(), 2u);
  EXPECT_NEAR(luma[0], 76, 1);
  EXPECT_NEAR(luma[1], 29, 1);
}

TEST(Jpeg, IsCloseWhateverItsKind) {
  for (bool progressive : {false, true}) {
    for (int channels : {1, 3}) {
      const Bytes pixels = Gradient(33, 50, channels);
      const DecodedImage image =
          MustDecode(testing::EncodeJpeg(pixels, 33, 50, channels, progressive), channels);
      EXPECT_EQ(image.height, 33);
      EXPECT_EQ(image.width, 50);
      EXPECT_LE(LargestDifference(image.pixels, pixels), 8);
    }
  }
}

TEST(Jpeg, ConvertsAdobeCmyk) {
  Bytes cmyk;  // no cyan ink, half the black: red 127, the others full ink: 0
  for (int i = 0; i < 64; ++i) cmyk.insert(cmyk.end(), {255, 0, 0, 127});
  const DecodedImage image = MustDecode(testing::EncodeJpeg(cmyk, 8, 8, 4), 3);
  EXPECT_NEAR(image.pixels[0], 127, 4);
  EXPECT_NEAR(image.pixels[1], 0, 4);
  EXPECT_NEAR(image.pixels[2], 0, 4);
}

TEST(Jpeg, DecodesSmallerButNeverBelowTheWantedSide) {
  DecodeOptions options;
  options.min_side = 50;
  auto image = DecodeImage(testing::EncodeJpeg(Gradient(230, 320, 3), 230, 320, 3), "x", options);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->height, 58);  // ceil(230 / 4)
  EXPECT_EQ(image->width, 80);
}

TEST(ImageCodec, EveryDamagedFileHasOneClearError) {
  const Bytes png = testing::EncodePng(Gradient(40, 40, 3), 40, 40, 3);
  const Bytes jpeg = testing::EncodeJpeg(Gradient(40, 40, 3), 40, 40, 3);
  auto cut = [](Bytes bytes, size_t size) {
    bytes.resize(size);
    return bytes;
  };
  auto flip = [](Bytes bytes, size_t at) {
    bytes[at] ^= 0x5a;
    return bytes;
  };
  Bytes huge = png;
  std::fill(huge.begin() + 16, huge.begin() + 24, 0);
  huge[17] = huge[21] = 0x0f;  // about a million squared
  const struct {
    const char* name;
    Bytes bytes;
    const char* says;
  } damages[] = {
      {"empty", {}, "the file is empty"},
      {"text", Bytes(50, 'x'), "no JPEG, PNG or WebP"},
      {"gif", {'G', 'I', 'F', '8', '9', 'a'}, "no JPEG, PNG or WebP"},
      {"png signature only", cut(png, 8), "damaged PNG file"},
      {"png cut in its header", cut(png, 20), "damaged PNG file"},
      {"png cut in its pixels", cut(png, png.size() / 2), "damaged PNG file"},
      {"png without end", cut(png, png.size() - 6), "damaged PNG file"},
      {"png header checksum", flip(png, 19), "damaged PNG file"},
      {"png pixels", flip(png, png.size() / 2), "damaged PNG file"},
      {"png of a million squared", huge, "damaged PNG file"},
      {"jpeg start only", cut(jpeg, 3), "damaged JPEG file"},
      {"jpeg cut in its header", cut(jpeg, 100), "damaged JPEG file"},
      {"jpeg cut in its pixels", cut(jpeg, jpeg.size() - 60), "damaged JPEG file"},
      {"jpeg without end", cut(jpeg, jpeg.size() - 2), "damaged JPEG file"},
  };
  for (const auto& damage : damages) {
    const absl::Status status = DecodeImage(damage.bytes, "the-file", {}).status();
    EXPECT_FALSE(status.ok()) << damage.name;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(damage.says), HasSubstr("the-file")))
        << damage.name;
  }
}

TEST(ImageCodec, RefusesAPictureOverTheLimitBeforeItDecodesIt) {
  DecodeOptions options;
  options.max_pixels = 100;
  for (const Bytes& bytes : {testing::EncodePng(Gradient(10, 11, 3), 10, 11, 3),
                             testing::EncodeJpeg(Gradient(10, 11, 3), 10, 11, 3)}) {
    const absl::Status status = DecodeImage(bytes, "x", options).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("10 x 11"));
  }
}

DecodedImage Image(int height, int width, int channels, Bytes pixels) {
  DecodedImage image;
  image.height = height;
  image.width = width;
  image.channels = channels;
  image.pixels = std::move(pixels);
  return image;
}

TEST(Resize, KeepsAFlatPictureAndTheSameSizeExactly) {
  for (int side : {1, 2, 7, 16, 23}) {
    Bytes out(3 * side * side);
    ResizeAndCrop(Image(11, 17, 3, Bytes(11 * 17 * 3, 201)), side, absl::MakeSpan(out));
    EXPECT_EQ(out, Bytes(3 * side * side, 201)) << side;
  }
  const Bytes gray = Gradient(9, 9, 1);
  Bytes out(81);
  ResizeAndCrop(Image(9, 9, 1, gray), 9, absl::MakeSpan(out));
  EXPECT_EQ(out, gray);
}

TEST(Resize, TakesTheCentre) {
  Bytes pixels(4 * 12, 10);  // a 4 x 12 picture whose middle third is bright
  for (int y = 0; y < 4; ++y) std::fill_n(pixels.begin() + 12 * y + 4, 4, 200);
  Bytes out(16);
  ResizeAndCrop(Image(4, 12, 1, pixels), 4, absl::MakeSpan(out));
  EXPECT_EQ(out, Bytes(16, 200));
}

TEST(Resize, AntialiasesACheckerboardToGray) {
  Bytes pixels;
  for (int i = 0; i < 64 * 64; ++i) pixels.push_back((i / 64 + i) % 2 ? 255 : 0);
  Bytes out(8 * 8);
  ResizeAndCrop(Image(64, 64, 1, pixels), 8, absl::MakeSpan(out));
  // Away from the border the triangle filter weighs both colours equally.
  for (int y = 1; y < 7; ++y) {
    for (int x = 1; x < 7; ++x) EXPECT_NEAR(out[8 * y + x], 127.5, 2.0);
  }
}

class ImageFolderTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const Dataset>> Open(const std::string& split, int64_t side = 0) {
    DatasetOptions options;
    options.type = "images";
    options.path = folder_.path();
    options.split = split;
    options.image_size = side;
    return OpenDataset(options);
  }
  // A picture of one brightness.
  void Add(const std::string& name, int height, int width, uint8_t value) {
    folder_.Write(name, testing::EncodePng(Bytes(height * width * 3, value), height, width, 3));
  }
  std::string Error(const std::string& split, int64_t side = 0) {
    return std::string(Open(split, side).status().message());
  }

  testing::TempFolder folder_;
};

TEST_F(ImageFolderTest, NumbersClassesByNameAndTakesThemInTurn) {
  Add("train/dog/a.png", 6, 4, 1);
  Add("train/cat/b.PNG", 6, 4, 2);
  Add("train/cat/c.jpeg", 6, 4, 3);  // the bytes say PNG, whatever the name says
  Add("train/ape/d.png", 6, 4, 4);
  Add("val/dog/e.png", 6, 4, 5);
  folder_.Write("train/cat/readme.txt", "no picture");
  auto train = Open("train");
  ASSERT_TRUE(train.ok()) << train.status();
  const DatasetInfo& info = (*train)->info();
  EXPECT_EQ(info.class_names, (std::vector<std::string>{"ape", "cat", "dog"}));
  EXPECT_EQ(info.size, 4);
  EXPECT_EQ(info.height, 6);
  EXPECT_EQ(info.width, 4);
  const int64_t labels[] = {0, 1, 2, 1};
  const uint8_t values[] = {4, 2, 1, 3};
  for (int i = 0; i < 4; ++i) {
    Bytes pixels(3 * 6 * 4);
    int64_t label = -1;
    const auto status = (*train)->ReadImage(i, absl::MakeSpan(pixels), &label);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(label, labels[i]);
    EXPECT_EQ(pixels, Bytes(72, values[i]));
  }
  auto test = Open("test");
  ASSERT_TRUE(test.ok()) << test.status();
  Bytes pixels(72);
  int64_t label = -1;
  ASSERT_TRUE((*test)->ReadImage(0, absl::MakeSpan(pixels), &label).ok());
  EXPECT_EQ(label, 2);
  EXPECT_EQ((*test)->info().classes, 3);
}

// Whatever its classes' sizes, a picture is in one split, the same each time.
TEST_F(ImageFolderTest, WithoutSplitsOfItsOwnAShareIsHeldOut) {
  std::multiset<std::pair<int64_t, uint8_t>> all, dealt;
  for (uint8_t i = 0; i < 40; ++i) {
    const int64_t label = i < 25 ? 0 : 1;
    Add(absl::StrCat(label == 0 ? "cat/" : "dog/", 100 + i, ".png"), 4, 4, i);
    all.insert({label, i});
  }
  for (const char* split : {"train", "test"}) {
    const auto data = Open(split);
    ASSERT_TRUE(data.ok()) << data.status();
    EXPECT_EQ((*data)->info().size, std::string(split) == "train" ? 36 : 4);
    EXPECT_EQ((*data)->info().class_names, (std::vector<std::string>{"cat", "dog"}));
    for (int64_t i = 0; i < (*data)->info().size; ++i) {
      Bytes pixels(48);
      int64_t label = -1;
      ASSERT_TRUE((*data)->ReadImage(i, absl::MakeSpan(pixels), &label).ok());
      dealt.insert({label, pixels[0]});
    }
  }
  EXPECT_EQ(dealt, all);
  Add("Training/cat/1.png", 4, 4, 0);
  EXPECT_THAT(Error("train"), HasSubstr("Layout"));
}

TEST_F(ImageFolderTest, ResizesMixedSizesAndRefusesThemOtherwise) {
  Add("train/a/1.png", 20, 30, 90);
  Add("train/b/2.png", 31, 17, 91);
  EXPECT_THAT(Error("train"), AllOf(HasSubstr("31 x 17"), HasSubstr("set image_size")));
  auto data = Open("train", 16);
  ASSERT_TRUE(data.ok()) << data.status();
  Bytes pixels(3 * 16 * 16);
  int64_t label;
  ASSERT_TRUE((*data)->ReadImage(1, absl::MakeSpan(pixels), &label).ok());
  EXPECT_EQ(pixels, Bytes(3 * 16 * 16, 91));
}

TEST_F(ImageFolderTest, EveryWrongLayoutHasOneClearError) {
  EXPECT_THAT(Error("train"), AllOf(HasSubstr("/train"), HasSubstr("one folder a class")));
  folder_.Write("train/loose.png", Bytes{1});
  EXPECT_THAT(Error("train"), HasSubstr("holds no class folders"));
  folder_.Write("train/cat/notes.txt", "x");
  EXPECT_THAT(Error("train"), HasSubstr("holds no jpg, jpeg, png or webp file"));
  Add("train/cat/1.png", 4, 4, 0);
  EXPECT_TRUE(Open("train").ok());
  EXPECT_THAT(Error("test"), AllOf(HasSubstr("/test"), HasSubstr("/val")));
  Add("test/dgo/1.png", 4, 4, 0);
  EXPECT_THAT(Error("test"), HasSubstr("class \"dgo\" has no folder"));
  EXPECT_THAT(Error("train", -1), HasSubstr("image_size -1"));
}

TEST_F(ImageFolderTest, ADamagedPictureIsNamedWhenItIsRead) {
  const std::string path = folder_.Write("train/cat/bad.jpg", Bytes{0xff, 0xd8, 0xff, 0xe0});
  auto data = Open("train", 8);
  ASSERT_TRUE(data.ok()) << data.status();
  Bytes pixels(3 * 64);
  int64_t label;
  const absl::Status status = (*data)->ReadImage(0, absl::MakeSpan(pixels), &label);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
}

// A JPEG whose EXIF part says `orientation`.
Bytes WithOrientation(Bytes jpeg, uint8_t orientation) {
  const Bytes exif = {0xff, 0xe1, 0, 34, 'E', 'x',         'i', 'f', 0, 0,    'M', 'M',
                      0,    42,   0, 0,  0,   8,           0,   1,   1, 0x12, 0,   3,
                      0,    0,    0, 1,  0,   orientation, 0,   0,   0, 0,    0,   0};
  jpeg.insert(jpeg.begin() + 2, exif.begin(), exif.end());
  return jpeg;
}

// Dark above, light below: upright for orientation 3 it is the other way round.
Bytes Halves(int height, int width) {
  Bytes pixels(static_cast<size_t>(height * width), 20);
  std::fill(pixels.begin() + height / 2 * width, pixels.end(), 230);
  return testing::EncodeJpeg(pixels, height, width, 1);
}

TEST_F(ImageFolderTest, PicturesMayLieBelowTheirClassAndTheRestIsCounted) {
  Add("train/cat/a.png", 4, 4, 1);
  Add("train/cat/deep/deeper/b.PNG", 4, 4, 2);
  Add("train/cat/.hidden/c.png", 4, 4, 3);
  Add("train/dog/d.png", 4, 4, 4);
  folder_.Write("train/cat/deep/notes.txt", "x");
  folder_.Write("train/dog/x.gif", "x");
  folder_.Write("train/dog/y.gif", "x");
  Add("train/loose.png", 4, 4, 5);
  auto data = Open("train");
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ((*data)->info().size, 3);
  ASSERT_EQ((*data)->info().notes.size(), 1u);
  EXPECT_THAT((*data)->info().notes[0],
              AllOf(HasSubstr("4 files"), HasSubstr("2 .gif, 1 .txt"), HasSubstr("1 loose")));
}

TEST_F(ImageFolderTest, TheCamerasOrientationIsSaidOrApplied) {
  folder_.Write("train/cat/a.jpg", WithOrientation(Halves(32, 16), 6));
  folder_.Write("train/dog/b.jpg", Halves(16, 32));
  EXPECT_THAT(Error("train"), HasSubstr("set image_size"));
  DatasetOptions options = {
      .type = "images", .path = folder_.path(), .image_size = 16, .channels = 1};
  const auto ignoring = OpenDataset(options);
  ASSERT_TRUE(ignoring.ok()) << ignoring.status();
  ASSERT_EQ((*ignoring)->info().notes.size(), 1u);
  EXPECT_THAT((*ignoring)->info().notes[0],
              AllOf(HasSubstr("1 of 2 pictures"), HasSubstr("data.exif=apply")));
  options.exif = "apply";
  options.image_size = 0;  // turned, they have one size
  const auto applying = OpenDataset(options);
  ASSERT_TRUE(applying.ok()) << applying.status();
  EXPECT_TRUE((*applying)->info().notes.empty());
  EXPECT_EQ((*applying)->info().height, 16);
  EXPECT_EQ((*applying)->info().width, 32);
  Bytes pixels(16 * 32), part(16 * 32);
  int64_t label;
  ASSERT_TRUE((*applying)->ReadImage(0, absl::MakeSpan(pixels), &label).ok());
  EXPECT_GT(pixels[8 * 32 + 4], 200);  // turned clockwise the lower half is left
  EXPECT_LT(pixels[8 * 32 + 28], 50);
  const auto all = [](int64_t height, int64_t width) { return PixelBox{0, 0, height, width}; };
  ASSERT_TRUE((*applying)->ReadCrop(0, all, absl::MakeSpan(part), &label).ok());
  EXPECT_EQ(part, pixels);
  options.exif = "turn";
  EXPECT_FALSE(OpenDataset(options).ok());
}

}  // namespace
}  // namespace ds
