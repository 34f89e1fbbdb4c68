#include "data/arrays/npy.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr absl::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kVersionAt = 6, kLengthAt = 8;
constexpr size_t kMaxHeader = 1 << 20;
constexpr size_t kMaxRank = 64;  // NumPy's own

absl::Status Damaged(absl::string_view origin, size_t offset, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(origin, ": damaged .npy at byte ", offset, ": ", what,
                                          "; write it again with numpy.save"));
}

struct Header {
  std::optional<std::string> descr;
  std::optional<bool> columns_first;
  std::optional<Shape> shape;
};

// A Python literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }: the only form that
// NumPy writes, but for order and spaces.
class HeaderReader {
 public:
  explicit HeaderReader(absl::string_view text) : text_(text) {}

  // The position of what is wrong, or nullopt.
  std::optional<size_t> Read(Header& header) {
    if (!Take('{')) return at_;
    while (!Take('}')) {
      std::string key;
      if (!String(key) || !Take(':') || !Member(key, header)) return at_;
      if (Take(',')) continue;
      if (!Take('}')) return at_;
      break;
    }
    Spaces();
    if (at_ != text_.size()) return at_;
    if (!header.descr || !header.columns_first || !header.shape) return at_;
    return std::nullopt;
  }

 private:
  void Spaces() {
    while (at_ < text_.size() && absl::ascii_isspace(text_[at_])) ++at_;
  }
  bool Take(char wanted) {
    Spaces();
    if (at_ == text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  bool Word(absl::string_view word) {
    Spaces();
    if (!absl::StartsWith(text_.substr(at_), word)) return false;
    at_ += word.size();
    return true;
  }
  bool String(std::string& out) {
    Spaces();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return false;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == absl::string_view::npos) return false;
    out = std::string(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return out.find('\\') == std::string::npos;
  }
  bool Extent(Shape& shape) {
    Spaces();
    size_t end = at_;
    while (end < text_.size() && absl::ascii_isdigit(text_[end])) ++end;
    int64_t extent = 0;
    if (!absl::SimpleAtoi(text_.substr(at_, end - at_), &extent)) return false;
    shape.push_back(extent);
    at_ = end;
    return shape.size() <= kMaxRank;
  }
  bool Tuple(Shape& shape) {
    if (!Take('(')) return false;
    while (!Take(')')) {
      if (!Extent(shape)) return false;
      if (Take(',')) continue;
      return Take(')');
    }
    return true;
  }
  bool Member(absl::string_view key, Header& header) {
    if (key == "descr" && !header.descr) return String(header.descr.emplace());
    if (key == "shape" && !header.shape) return Tuple(header.shape.emplace());
    if (key != "fortran_order" || header.columns_first) return false;
    header.columns_first = Word("True");
    return *header.columns_first || Word("False");
  }

  absl::string_view text_;
  size_t at_ = 0;
};

std::optional<DType> TypeOf(absl::string_view descr) {
  static constexpr std::pair<absl::string_view, DType> kTypes[] = {
      {"<f4", DType::kFloat32}, {"<f8", DType::kFloat64}, {"<f2", DType::kFloat16},
      {"|i1", DType::kInt8},    {"|u1", DType::kUInt8},   {"<i2", DType::kInt16},
      {"<u2", DType::kUInt16},  {"<i4", DType::kInt32},   {"<u4", DType::kUInt32},
      {"<i8", DType::kInt64},   {"<u8", DType::kUInt64},  {"|b1", DType::kBool}};
  for (const auto& [name, dtype] : kTypes) {
    if (descr == name) return dtype;
  }
  return std::nullopt;
}

// Version 1.0 has two bytes of length, the later ones four; little-endian.
absl::StatusOr<absl::string_view> HeaderText(absl::string_view bytes, absl::string_view origin) {
  if (!absl::StartsWith(bytes, kMagic)) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin,
                     ": no .npy file, it does not begin with \\x93NUMPY; write it with "
                     "numpy.save"));
  }
  if (bytes.size() < kLengthAt + 4) return Damaged(origin, bytes.size(), "the file ends early");
  const auto byte = [&bytes](size_t i) {
    return static_cast<size_t>(static_cast<uint8_t>(bytes[i]));
  };
  const size_t major = byte(kVersionAt);
  if (major < 1 || major > 3 || byte(kVersionAt + 1) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(origin, ": .npy version ", major, ".",
                                                   byte(kVersionAt + 1),
                                                   " is unknown; 1.0, 2.0 and 3.0 are read"));
  }
  size_t length = byte(kLengthAt) | byte(kLengthAt + 1) << 8;
  if (major > 1) length |= byte(kLengthAt + 2) << 16 | byte(kLengthAt + 3) << 24;
  const size_t begin = kLengthAt + (major > 1 ? 4 : 2);
  if (length > kMaxHeader || length > bytes.size() - begin)
    return Damaged(origin, kLengthAt, absl::StrCat("a header of ", length, " bytes"));
  return bytes.substr(begin, length);
}

}  // namespace

absl::StatusOr<StoredArray> ParseNpy(absl::Span<const std::byte> bytes, absl::string_view origin) {
  const absl::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  DS_ASSIGN_OR_RETURN(const absl::string_view literal, HeaderText(text, origin));
  const size_t header_at = static_cast<size_t>(literal.data() - text.data());
  Header header;
  if (const auto wrong = HeaderReader(literal).Read(header); wrong.has_value())
    return Damaged(origin, header_at + *wrong, "the header is not {descr, fortran_order, shape}");
  const std::optional<DType> dtype = TypeOf(*header.descr);
  if (!dtype.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        origin, ": element type '", *header.descr,
        "' is not read; save little-endian numbers or bools (array.astype(numpy.float32), say)"));
  }
  StoredArray array;
  array.origin = std::string(origin);
  array.dtype = *dtype;
  array.shape = *std::move(header.shape);
  if (*header.columns_first && array.shape.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(origin,
                     ": the array lies column by column (fortran_order); save "
                     "numpy.ascontiguousarray(array)"));
  }
  const absl::StatusOr<int64_t> count = NumElements(array.shape);
  array.bytes = bytes.subspan(header_at + literal.size());
  const int64_t have = static_cast<int64_t>(array.bytes.size());
  // Divided, so that no product overflows.
  const int64_t width = ByteSize(array.dtype, 1);
  if (!count.ok() || have % width != 0 || *count != have / width) {
    return Damaged(origin, header_at + literal.size(),
                   absl::StrCat("shape ", ShapeString(array.shape), " of ", Name(array.dtype),
                                " does not fit the ", have, " bytes that follow"));
  }
  return array;
}

}  // namespace ds
