#include "tests/data/data_testing.h"

#include <png.h>
#include <zlib.h>

// clang-format off
#include <cstdio>  // before jpeglib.h, which needs FILE and size_t
#include <jpeglib.h>
// clang-format on

#include "base/check.h"

namespace ds::testing {
namespace {

void AppendBigEndian(uint32_t value, Bytes* out) {
  for (int shift = 24; shift >= 0; shift -= 8) out->push_back(static_cast<uint8_t>(value >> shift));
}

void AppendToBytes(png_structp png, png_bytep data, size_t count) {
  auto* out = static_cast<Bytes*>(png_get_io_ptr(png));
  out->insert(out->end(), data, data + count);
}

// Rows as libpng wants them; `palette` may be empty.
Bytes WritePng(const Bytes& rows, int height, int width, int stride, int depth, int type,
               std::vector<png_color> palette) {
  Bytes out;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(png, &out, AppendToBytes, nullptr);
  png_set_IHDR(png, info, width, height, depth, type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_BASE,
               PNG_FILTER_TYPE_BASE);
  if (!palette.empty()) png_set_PLTE(png, info, palette.data(), palette.size());
  png_write_info(png, info);
  for (int y = 0; y < height; ++y) png_write_row(png, rows.data() + y * stride);
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

}  // namespace

Bytes Gzip(const Bytes& bytes) {
  z_stream stream = {};
  DS_CHECK(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes out(deflateBound(&stream, bytes.size()) + 32);
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = bytes.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  DS_CHECK(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Bytes IdxImageFile(uint32_t count, uint32_t height, uint32_t width) {
  Bytes out = {0, 0, 8, 3};
  for (uint32_t extent : {count, height, width}) AppendBigEndian(extent, &out);
  for (uint32_t i = 0; i < count * height * width; ++i) out.push_back(static_cast<uint8_t>(i * 7));
  return out;
}

Bytes IdxLabelFile(uint32_t count) {
  Bytes out = {0, 0, 8, 1};
  AppendBigEndian(count, &out);
  for (uint32_t i = 0; i < count; ++i) out.push_back(static_cast<uint8_t>(i % 10));
  return out;
}

Bytes CifarFile(int records, int classes) {
  Bytes out;
  for (int i = 0; i < records; ++i) {
    if (classes == 100) out.push_back(static_cast<uint8_t>(i % 20));
    out.push_back(static_cast<uint8_t>(i % classes));
    for (int p = 0; p < 3 * 32 * 32; ++p) out.push_back(static_cast<uint8_t>(i + p));
  }
  return out;
}

Bytes EncodePng(const Bytes& pixels, int height, int width, int channels) {
  const int type = channels == 1   ? PNG_COLOR_TYPE_GRAY
                   : channels == 3 ? PNG_COLOR_TYPE_RGB
                                   : PNG_COLOR_TYPE_RGBA;
  return WritePng(pixels, height, width, width * channels, 8, type, {});
}

Bytes EncodePng16(int height, int width) {
  Bytes rows;
  for (int i = 0; i < height * width; ++i) rows.insert(rows.end(), 2, static_cast<uint8_t>(i));
  return WritePng(rows, height, width, 2 * width, 16, PNG_COLOR_TYPE_GRAY, {});
}

Bytes EncodePngPalette(int height, int width) {
  Bytes rows(height * width);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = i % 2;
  return WritePng(rows, height, width, width, 8, PNG_COLOR_TYPE_PALETTE,
                  {{255, 0, 0}, {0, 0, 255}});
}

Bytes EncodeJpeg(const Bytes& pixels, int height, int width, int channels, bool progressive) {
  jpeg_compress_struct info;
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&info);
  if (channels == 4) info.write_Adobe_marker = TRUE;
  if (progressive) jpeg_simple_progression(&info);
  jpeg_set_quality(&info, 95, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<uint8_t*>(pixels.data()) + info.next_scanline * width * channels;
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes out(data, data + size);
  jpeg_destroy_compress(&info);
  free(data);
  return out;
}

}  // namespace ds::testing
