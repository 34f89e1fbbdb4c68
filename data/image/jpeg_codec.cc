// libjpeg reports errors by a callback that must not return: it jumps back here. Functions between
// the jump and its target hold no object with a destructor.

#include <algorithm>
#include <csetjmp>

// clang-format off
#include <cstdio>  // before jpeglib.h, which needs FILE and size_t
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/image/image_codec.h"

namespace ds::internal {
namespace {

// A progressive file may repeat scans of the whole picture without end; real ones have about ten.
constexpr int kMaxScans = 100;

struct ErrorManager {
  jpeg_error_mgr base;  // first: libjpeg hands back a pointer to it
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void OnError(j_common_ptr info) {
  auto* manager = reinterpret_cast<ErrorManager*>(info->err);
  manager->base.format_message(info, manager->message);
  std::longjmp(manager->jump, 1);
}

// Warnings on odd but harmless headers are let pass; all others are about damaged picture data,
// which libjpeg would fill with gray.
void OnMessage(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
      return;
    default:
      OnError(info);
  }
}

void OnProgress(j_common_ptr info) {
  auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number > kMaxScans) {
    auto* manager = reinterpret_cast<ErrorManager*>(info->err);
    std::snprintf(manager->message, sizeof(manager->message), "more than %d scans", kMaxScans);
    std::longjmp(manager->jump, 1);
  }
}

class Decoder {
 public:
  Decoder() {
    info_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = OnError;
    errors_.base.emit_message = OnMessage;
    errors_.message[0] = '\0';
    progress_.progress_monitor = OnProgress;
  }
  ~Decoder() { jpeg_destroy_decompress(&info_); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  bool ReadHeader(ByteSpan bytes) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes.data(), bytes.size());
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  // Settles the size of the output, 1 / `denominator` of the picture's: info().output_height and so
  // on.
  bool Start(const DecodeOptions& options, unsigned denominator) {
    if (setjmp(errors_.jump) != 0) return false;
    const bool cmyk = info_.num_components == 4;
    info_.out_color_space = cmyk ? JCS_CMYK : options.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    info_.scale_num = 1;
    info_.scale_denom = denominator;
    jpeg_start_decompress(&info_);
    return true;
  }

  bool ReadRows(uint8_t* pixels, size_t stride) {
    if (setjmp(errors_.jump) != 0) return false;
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = pixels + info_.output_scanline * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  // Narrows the lines to columns from `x` on, `width` of them, both rounded outwards to what the
  // codec can cut; these are then `x` and info().output_width.
  bool CutColumns(unsigned& x, unsigned width) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_crop_scanline(&info_, &x, &width);
    return true;
  }

  // `rows` lines from `y` on. The rest of the file is not looked at.
  bool ReadPart(unsigned y, unsigned rows, uint8_t* pixels, size_t stride) {
    if (setjmp(errors_.jump) != 0) return false;
    if (y > 0) jpeg_skip_scanlines(&info_, y);
    while (info_.output_scanline < y + rows) {
      JSAMPROW row = pixels + (info_.output_scanline - y) * stride;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    return true;
  }

  const jpeg_decompress_struct& info() const { return info_; }
  absl::Status Error(absl::string_view origin) const {
    return DamagedImage(origin, "JPEG", errors_.message);
  }

 private:
  jpeg_decompress_struct info_ = {};
  ErrorManager errors_ = {};
  jpeg_progress_mgr progress_ = {};
};

// CMYK to RGB or gray. Adobe's files, which nearly all are, store ink inverted: 255 is none.
void ConvertCmyk(const std::vector<uint8_t>& cmyk, bool inverted, DecodedImage* image) {
  const int64_t count = image->height * image->width;
  for (int64_t i = 0; i < count; ++i) {
    int rgb[3];
    for (int c = 0; c < 3; ++c) {
      const int ink = inverted ? cmyk[4 * i + c] : 255 - cmyk[4 * i + c];
      const int black = inverted ? cmyk[4 * i + 3] : 255 - cmyk[4 * i + 3];
      rgb[c] = (ink * black + 127) / 255;
    }
    if (image->channels == 3) {
      for (int c = 0; c < 3; ++c) image->pixels[3 * i + c] = static_cast<uint8_t>(rgb[c]);
    } else {
      image->pixels[i] = LumaOf(rgb[0], rgb[1], rgb[2]);
    }
  }
}

// The largest of 1, 2, 4 and 8 that leaves `box` that many pixels; 1 where 0 are asked for.
unsigned DenominatorFor(int64_t height, int64_t width, const PixelBox& box) {
  unsigned denominator = 1;
  while (height > 0 && denominator < 8 && box.height / (2 * denominator) >= height &&
         box.width / (2 * denominator) >= width) {
    denominator *= 2;
  }
  return denominator;
}

}  // namespace

absl::StatusOr<DecodedImage> DecodeJpeg(ByteSpan bytes, absl::string_view origin,
                                        const DecodeOptions& options, bool size_only) {
  Decoder decoder;
  if (!decoder.ReadHeader(bytes)) return decoder.Error(origin);
  DecodedImage image;
  image.height = decoder.info().image_height;
  image.width = decoder.info().image_width;
  DS_RETURN_IF_ERROR(CheckImageSize(origin, image.height, image.width, options));
  if (size_only) return image;
  if (!decoder.Start(options, DenominatorFor(options.min_side, options.min_side,
                                             {0, 0, image.height, image.width}))) {
    return decoder.Error(origin);
  }
  image.height = decoder.info().output_height;
  image.width = decoder.info().output_width;
  image.channels = options.channels;
  image.pixels.resize(image.height * image.width * image.channels);
  if (decoder.info().out_color_space == JCS_CMYK) {
    std::vector<uint8_t> cmyk(image.height * image.width * 4);
    if (!decoder.ReadRows(cmyk.data(), image.width * 4)) return decoder.Error(origin);
    ConvertCmyk(cmyk, decoder.info().saw_Adobe_marker, &image);
  } else if (!decoder.ReadRows(image.pixels.data(), image.width * image.channels)) {
    return decoder.Error(origin);
  }
  return image;
}

absl::StatusOr<CroppedImage> DecodeJpegCrop(ByteSpan bytes, absl::string_view origin,
                                            const DecodeOptions& options, BoxChooser choose,
                                            int64_t height, int64_t width) {
  // Upsampled chroma of the first and last columns would differ from the whole picture's.
  constexpr int64_t kMargin = 2;
  Decoder decoder;
  if (!decoder.ReadHeader(bytes)) return decoder.Error(origin);
  const int64_t full_height = decoder.info().image_height, full_width = decoder.info().image_width;
  DS_RETURN_IF_ERROR(CheckImageSize(origin, full_height, full_width, options));
  const PixelBox box = choose(full_height, full_width);
  CroppedImage part;
  if (decoder.info().num_components == 4) {  // CMYK: rare, so whole
    DS_ASSIGN_OR_RETURN(part.image, DecodeJpeg(bytes, origin, options, /*size_only=*/false));
    part.box = ToRealBox(box);
    return part;
  }
  const unsigned denominator = DenominatorFor(height, width, box);
  if (!decoder.Start(options, denominator)) return decoder.Error(origin);
  const int64_t rows = decoder.info().output_height, columns = decoder.info().output_width;
  const auto scaled = [denominator](int64_t at) { return at / static_cast<int64_t>(denominator); };
  const int64_t top = scaled(box.y), left = std::max<int64_t>(0, scaled(box.x) - kMargin);
  const int64_t bottom = std::min(rows, scaled(box.y + box.height - 1) + 1);
  const int64_t right = std::min(columns, scaled(box.x + box.width - 1) + 1 + kMargin);
  unsigned first = static_cast<unsigned>(left);
  if (!decoder.CutColumns(first, static_cast<unsigned>(right - left))) return decoder.Error(origin);
  part.image = {
      bottom - top, static_cast<int64_t>(decoder.info().output_width), options.channels, {}};
  const size_t stride = static_cast<size_t>(part.image.width * options.channels);
  part.image.pixels.resize(static_cast<size_t>(part.image.height) * stride);
  if (!decoder.ReadPart(static_cast<unsigned>(top), static_cast<unsigned>(part.image.height),
                        part.image.pixels.data(), stride)) {
    return decoder.Error(origin);
  }
  // Where the picture's size is no multiple of the denominator its last pixel is less than whole.
  const double scale = 1.0 / denominator;
  part.box = {static_cast<double>(box.y) * scale - static_cast<double>(top),
              static_cast<double>(box.x) * scale - static_cast<double>(first),
              static_cast<double>(box.height) * scale, static_cast<double>(box.width) * scale};
  return part;
}

}  // namespace ds::internal
