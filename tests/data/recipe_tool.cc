// Applies one colour operation to raw RGB planes, for the comparison with Pillow:
//   recipe_tool OPERATION VALUE HEIGHT WIDTH < planes > planes
// OPERATION: brightness, contrast, saturation, sharpness, hue, posterize, solarize, autocontrast,
// equalize, or 0..13, RandAugment's, with VALUE as its signed magnitude; decode reads a picture and
// writes its rows of RGB.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "data/image/exif.h"
#include "data/image/image_codec.h"
#include "data/recipe/rand_augment.h"

namespace ds {
namespace {

void Apply(const std::string& operation, double value, const Picture& picture) {
  if (operation == "brightness") return AdjustBrightness(picture, value);
  if (operation == "contrast") return AdjustContrast(picture, value);
  if (operation == "saturation") return AdjustSaturation(picture, value);
  if (operation == "sharpness") return AdjustSharpness(picture, value);
  if (operation == "hue") return AdjustHue(picture, value);
  if (operation == "posterize") return Posterize(picture, static_cast<int>(value));
  if (operation == "solarize") return Solarize(picture, static_cast<int>(value));
  if (operation == "autocontrast") return AutoContrast(picture);
  if (operation == "equalize") return Equalize(picture);
  ApplyOperation(std::stoi(operation), std::lround(std::abs(value)), std::copysign(1.0, value),
                 picture);
}

int Run(char** argv) {
  std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(std::cin),
                             std::istreambuf_iterator<char>()};
  const std::string operation = argv[1];
  if (operation == "decode") {
    auto image = DecodeImage(bytes, "stdin", {});
    if (!image.ok()) {
      std::cerr << image.status() << "\n";
      return 1;
    }
    bytes = Upright(*std::move(image), ExifOrientation(bytes)).pixels;
  } else {
    Apply(operation, std::stod(argv[2]),
          {absl::MakeSpan(bytes),
           static_cast<int64_t>(bytes.size()) / (std::stoll(argv[3]) * std::stoll(argv[4])),
           std::stoll(argv[3]), std::stoll(argv[4])});
  }
  std::cout.write(reinterpret_cast<const char*>(bytes.data()),
                  static_cast<std::streamsize>(bytes.size()));
  return 0;
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) { return argc == 5 ? ds::Run(argv) : 2; }
