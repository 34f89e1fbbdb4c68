// libpng reports errors by a callback that must not return: it jumps back here. Functions between
// the jump and its target hold no object with a destructor.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/image/image_codec.h"

namespace ds::internal {
namespace {

constexpr png_uint_32 kMaxSide = 1 << 20;
constexpr png_alloc_size_t kMaxChunkBytes = 8 << 20;  // of a text or profile chunk
constexpr int kMaxCachedChunks = 64;

class Decoder {
 public:
  explicit Decoder(ByteSpan bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
  }
  ~Decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  bool ready() const { return info_ != nullptr; }

  bool ReadHeader() {
    if (setjmp(jump_) != 0) return false;
    png_set_user_limits(png_, kMaxSide, kMaxSide);
    png_set_chunk_malloc_max(png_, kMaxChunkBytes);
    png_set_chunk_cache_max(png_, kMaxCachedChunks);
    png_set_read_fn(png_, this, OnRead);
    png_read_info(png_, info_);
    return true;
  }

  int64_t height() const { return png_get_image_height(png_, info_); }
  int64_t width() const { return png_get_image_width(png_, info_); }

  // Asks for 8-bit gray or RGB whatever the file holds.
  bool Start(int64_t channels) {
    if (setjmp(jump_) != 0) return false;
    const png_byte type = png_get_color_type(png_, info_);
    png_set_expand(png_);    // palette to RGB, 1..4 bits to 8, tRNS to alpha
    png_set_scale_16(png_);  // 16 bits to 8, rounded
    png_set_strip_alpha(png_);
    const bool color = (type & PNG_COLOR_MASK_COLOR) != 0;
    if (channels == 3 && !color) png_set_gray_to_rgb(png_);
    if (channels == 1 && color)
      png_set_rgb_to_gray_fixed(png_, PNG_ERROR_ACTION_NONE, kRed, kGreen);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  int64_t row_bytes() const { return png_get_rowbytes(png_, info_); }

  bool ReadRows(uint8_t* pixels, int64_t stride, int64_t rows) {
    if (setjmp(jump_) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass) {
      for (int64_t row = 0; row < rows; ++row) {
        png_read_row(png_, pixels + row * stride, nullptr);
      }
    }
    png_read_end(png_, nullptr);
    return true;
  }

  absl::Status Error(absl::string_view origin) const {
    return DamagedImage(origin, "PNG", message_);
  }

 private:
  // Luma weights of ITU-R BT.601 in 1/100000, as JPEG has them; libpng's own default is BT.709's.
  static constexpr png_fixed_point kRed = 29900;
  static constexpr png_fixed_point kGreen = 58700;

  [[noreturn]] static void OnError(png_structp png, png_const_charp message) {
    auto* self = static_cast<Decoder*>(png_get_error_ptr(png));
    std::snprintf(self->message_, sizeof(self->message_), "%s", message);
    std::longjmp(self->jump_, 1);
  }

  static void OnWarning(png_structp, png_const_charp) {}

  static void OnRead(png_structp png, png_bytep out, size_t count) {
    auto* self = static_cast<Decoder*>(png_get_io_ptr(png));
    if (count > self->bytes_.size() - self->position_) png_error(png, "the file ends early");
    std::memcpy(out, self->bytes_.data() + self->position_, count);
    self->position_ += count;
  }

  ByteSpan bytes_;
  size_t position_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  std::jmp_buf jump_;
  char message_[128] = "";
};

}  // namespace

absl::StatusOr<DecodedImage> DecodePng(ByteSpan bytes, absl::string_view origin,
                                       const DecodeOptions& options, bool size_only) {
  Decoder decoder(bytes);
  if (!decoder.ready()) return absl::ResourceExhaustedError("libpng has no memory to start");
  if (!decoder.ReadHeader()) return decoder.Error(origin);
  DecodedImage image;
  image.height = decoder.height();
  image.width = decoder.width();
  DS_RETURN_IF_ERROR(CheckImageSize(origin, image.height, image.width, options));
  if (size_only) return image;
  if (!decoder.Start(options.channels)) return decoder.Error(origin);
  image.channels = options.channels;
  const int64_t stride = image.width * image.channels;
  if (decoder.row_bytes() != stride) {
    return DamagedImage(
        origin, "PNG",
        absl::StrCat("rows of ", decoder.row_bytes(), " bytes where ", stride, " are expected"));
  }
  image.pixels.resize(image.height * stride);
  if (!decoder.ReadRows(image.pixels.data(), stride, image.height)) return decoder.Error(origin);
  return image;
}

}  // namespace ds::internal
