#include "data/augment.h"

#include <algorithm>

#include "base/check.h"
#include "data/sample_random.h"

namespace ds {
namespace {

constexpr int kAnyStride = 0;  // the number of channels, known at run time only

void Fill(float* out, int64_t count, int64_t stride, float value) {
  for (int64_t i = 0; i < count; ++i) out[i * stride] = value;
}

}  // namespace

AugmentDraw DrawAugment(const AugmentOptions& options, int64_t height, int64_t width, uint64_t seed,
                        int64_t epoch, int64_t sample) {
  AugmentDraw draw;
  // Every kind draws its numbers from its own place, so that switching one off leaves the others
  // alone.
  SampleRandom random(seed, RandomPurpose::kAugment, epoch, sample);
  const uint64_t span = 2 * options.crop_padding + 1;
  const int64_t dy = random.Below(span), dx = random.Below(span);
  const bool flip = random.Below(2) == 1;
  const int64_t y = random.Below(height), x = random.Below(width);
  draw.dy = dy - options.crop_padding;
  draw.dx = dx - options.crop_padding;
  draw.flip = options.horizontal_flip && flip;
  if (options.cutout > 0) {
    const int64_t y0 = y - options.cutout / 2, x0 = x - options.cutout / 2;
    draw.cut_y0 = std::max<int64_t>(0, y0);
    draw.cut_x0 = std::max<int64_t>(0, x0);
    draw.cut_y1 = std::min(height, y0 + options.cutout);
    draw.cut_x1 = std::min(width, x0 + options.cutout);
  }
  return draw;
}

ImageTransform::ImageTransform(int64_t channels, int64_t height, int64_t width,
                               absl::Span<const float> mean, absl::Span<const float> stddev,
                               bool channels_last)
    : channels_(channels),
      height_(height),
      width_(width),
      channels_last_(channels_last && channels > 1),  // one channel: the layouts are the same
      tables_(channels) {
  DS_CHECK(static_cast<int64_t>(mean.size()) == channels) << mean.size();
  DS_CHECK(static_cast<int64_t>(stddev.size()) == channels) << stddev.size();
  for (int64_t c = 0; c < channels; ++c) {
    for (int value = 0; value < 256; ++value) {
      tables_[c][value] = static_cast<float>((value / 255.0 - mean[c]) / stddev[c]);
    }
  }
}

template <int kStride>
void ImageTransform::ApplyPlane(const AugmentDraw& draw, const uint8_t* plane, const Table& table,
                                float* out) const {
  const int64_t stride = kStride == kAnyStride ? channels_ : kStride;
  // Cropped columns [begin, end) lie inside the picture.
  const int64_t begin = std::clamp<int64_t>(-draw.dx, 0, width_);
  const int64_t end = std::clamp<int64_t>(width_ - draw.dx, begin, width_);
  for (int64_t y = 0; y < height_; ++y) {
    float* row = out + y * width_ * stride;
    const int64_t from = y + draw.dy;
    if (from < 0 || from >= height_ || begin == end) {
      Fill(row, width_, stride, 0.0f);
      continue;
    }
    const uint8_t* in = plane + from * width_ + draw.dx;
    if (draw.flip) {
      const int64_t last = width_ - 1;
      Fill(row, last - (end - 1), stride, 0.0f);
      for (int64_t x = begin; x < end; ++x) row[(last - x) * stride] = table[in[x]];
      Fill(row + (width_ - begin) * stride, begin, stride, 0.0f);
    } else {
      Fill(row, begin, stride, 0.0f);
      for (int64_t x = begin; x < end; ++x) row[x * stride] = table[in[x]];
      Fill(row + end * stride, width_ - end, stride, 0.0f);
    }
  }
}

void ImageTransform::CutOut(const AugmentDraw& draw, float* out) const {
  const int64_t planes = channels_last_ ? 1 : channels_;
  const int64_t pixel = channels_last_ ? channels_ : 1;  // floats that lie together
  for (int64_t p = 0; p < planes; ++p) {
    for (int64_t y = draw.cut_y0; y < draw.cut_y1; ++y) {
      float* row = out + (p * height_ + y) * width_ * pixel;
      std::fill(row + draw.cut_x0 * pixel, row + draw.cut_x1 * pixel, 0.0f);
    }
  }
}

void ImageTransform::Apply(const AugmentDraw& draw, absl::Span<const uint8_t> planes,
                           float* out) const {
  const int64_t area = height_ * width_;
  for (int64_t c = 0; c < channels_; ++c) {
    const uint8_t* plane = planes.data() + c * area;
    if (!channels_last_) {
      ApplyPlane<1>(draw, plane, tables_[c], out + c * area);
    } else if (channels_ == 3) {
      ApplyPlane<3>(draw, plane, tables_[c], out + c);
    } else {
      ApplyPlane<kAnyStride>(draw, plane, tables_[c], out + c);
    }
  }
  if (draw.cut_y0 < draw.cut_y1) CutOut(draw, out);
}

}  // namespace ds
