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

  // Settles the size of the output: info().output_height and so on.
  bool Start(const DecodeOptions& options) {
    if (setjmp(errors_.jump) != 0) return false;
    const bool cmyk = info_.num_components == 4;
    info_.out_color_space = cmyk ? JCS_CMYK : options.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    const int64_t shorter = std::min(info_.image_height, info_.image_width);
    info_.scale_num = 1;
    info_.scale_denom = 1;
    while (options.min_side > 0 && info_.scale_denom < 8 &&
           shorter / (2 * info_.scale_denom) >= options.min_side) {
      info_.scale_denom *= 2;
    }
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
    } else {  // the luma weights of JPEG itself (ITU-R BT.601), in 1/1000
      image->pixels[i] =
          static_cast<uint8_t>((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
    }
  }
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
  if (!decoder.Start(options)) return decoder.Error(origin);
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

}  // namespace ds::internal
