// A picture of any size in a network's input of fixed size: scaled as a whole, centred, the rest
// gray, as YOLOv5 trains and exports it.
#pragma once

#include <cstdint>
#include <vector>

#include "data/image/image_codec.h"
#include "jobs/run/detect/box.h"

namespace ds {

// Where the picture lies in the input: input = picture * scale + (left, top).
struct Letterbox {
  double scale = 1;
  int64_t left = 0, top = 0;
  int64_t width = 0, height = 0;  // of the picture there, in pixels of the input
};

// Of a picture of `picture` pixels in an input of `input`; both have at least one pixel.
Letterbox FitInto(const ImageSize& picture, const ImageSize& input);

// The input [C, H, W] as values in [0, 1]; 114/255 beside the picture. Resized with antialiasing
// (ResizeBox), where YOLOv5 takes OpenCV's bilinear pixels.
std::vector<float> LetterboxedPicture(const DecodedImage& picture, const ImageSize& input);

// The box of the input in the picture's own pixels, cut to the picture.
Box InPicture(const Box& box, const Letterbox& letterbox, const ImageSize& picture);

}  // namespace ds
