#include "data/sets/idx.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr uint8_t kUnsignedByte = 0x08;
constexpr int kMaxDims = 3;
constexpr int64_t kMaxDataBytes = int64_t{4} << 30;
constexpr int64_t kMaxSide = 1 << 14;

struct IdxHeader {
  std::array<int64_t, kMaxDims> dims = {1, 1, 1};
  int64_t size = 0;        // bytes of the header
  int64_t data_bytes = 0;  // product of the extents
};

absl::Status Bad(absl::string_view origin, int64_t offset, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(origin, ": byte ", offset, ": ", what,
                                          "; get the file again, or check that it is an IDX file"));
}

int64_t BigEndian32(const uint8_t* p) {
  return int64_t{p[0]} << 24 | int64_t{p[1]} << 16 | int64_t{p[2]} << 8 | int64_t{p[3]};
}

absl::StatusOr<IdxHeader> ParseHeader(ByteSpan bytes, absl::string_view origin, int dims) {
  IdxHeader header;
  header.size = 4 + 4 * dims;
  if (static_cast<int64_t>(bytes.size()) < header.size) {
    return Bad(origin, bytes.size(),
               absl::StrCat("the file ends inside its header of ", header.size, " bytes"));
  }
  if (bytes[0] != 0 || bytes[1] != 0) {
    return Bad(origin, 0,
               absl::StrCat("not an IDX file: magic number 0x",
                            absl::Hex(BigEndian32(bytes.data()), absl::kZeroPad8),
                            " does not begin with two zero bytes"));
  }
  if (bytes[2] != kUnsignedByte) {
    return Bad(origin, 2,
               absl::StrCat("element type 0x", absl::Hex(bytes[2], absl::kZeroPad2),
                            " where unsigned bytes (0x08) are expected"));
  }
  if (bytes[3] != dims) {
    return Bad(origin, 3,
               absl::StrCat(static_cast<int>(bytes[3]), " dimensions where ",
                            dims == 1 ? "labels have 1" : "images have 3",
                            dims == 1 ? " (an image file in place of labels?)"
                                      : " (a label file in place of images?)"));
  }
  header.data_bytes = 1;
  for (int d = 0; d < dims; ++d) {
    const int64_t offset = 4 + 4 * d;
    const int64_t extent = BigEndian32(bytes.data() + offset);
    if (d > 0 && (extent < 1 || extent > kMaxSide)) {
      return Bad(origin, offset,
                 absl::StrCat(d == 1 ? "height " : "width ", extent, " is not in 1..", kMaxSide));
    }
    // No overflow: 2^32 samples times two sides of at most 2^14 stay below 2^62.
    header.dims[d] = extent;
    header.data_bytes *= extent;
  }
  if (header.data_bytes > kMaxDataBytes) {
    return Bad(origin, 4,
               absl::StrCat("the extents stand for ", header.data_bytes,
                            " bytes, over the limit of ", kMaxDataBytes));
  }
  return header;
}

// The elements behind a header of `dims` dimensions, whose extents go to `header`.
absl::StatusOr<std::vector<uint8_t>> ParsePlain(ByteSpan bytes, absl::string_view origin, int dims,
                                                IdxHeader* header) {
  DS_ASSIGN_OR_RETURN(*header, ParseHeader(bytes, origin, dims));
  const int64_t expected = header->size + header->data_bytes;
  const int64_t actual = bytes.size();
  if (actual < expected) {
    return Bad(
        origin, actual,
        absl::StrCat("truncated: the header promises ", expected, " bytes, the file has ", actual));
  }
  if (actual > expected) {
    return Bad(origin, expected,
               absl::StrCat(actual - expected, " bytes follow the ", expected,
                            " that the header promises"));
  }
  return std::vector<uint8_t>(bytes.begin() + header->size, bytes.end());
}

absl::StatusOr<std::vector<uint8_t>> Parse(ByteSpan bytes, absl::string_view origin, int dims,
                                           IdxHeader* header) {
  if (!IsGzip(bytes)) return ParsePlain(bytes, origin, dims, header);
  // The header comes first, so that a small file that inflates without end is stopped at what it
  // announced.
  DS_ASSIGN_OR_RETURN(std::vector<uint8_t> prefix, InflateGzipPrefix(bytes, origin, 4 + 4 * dims));
  DS_ASSIGN_OR_RETURN(*header, ParseHeader(prefix, origin, dims));
  DS_ASSIGN_OR_RETURN(std::vector<uint8_t> inflated,
                      InflateGzip(bytes, origin, header->size + header->data_bytes));
  return ParsePlain(inflated, origin, dims, header);
}

}  // namespace

absl::StatusOr<IdxImages> ParseIdxImages(ByteSpan bytes, absl::string_view origin) {
  IdxHeader header;
  IdxImages images;
  DS_ASSIGN_OR_RETURN(images.pixels, Parse(bytes, origin, 3, &header));
  images.count = header.dims[0];
  images.height = header.dims[1];
  images.width = header.dims[2];
  return images;
}

absl::StatusOr<std::vector<uint8_t>> ParseIdxLabels(ByteSpan bytes, absl::string_view origin) {
  IdxHeader header;
  return Parse(bytes, origin, 1, &header);
}

}  // namespace ds
