#include "tests/data/array_testing.h"

#include <zlib.h>

namespace ds::testing {
namespace {

std::string Number(uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::string Deflated(const std::string& content) {
  std::string out(content.size() + 64, '\0');
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace

std::string NpyFromBytes(const std::string& header, const std::string& content, int version) {
  std::string file("\x93NUMPY", 6);
  absl::StrAppend(&file, Number(static_cast<uint64_t>(version), 2),
                  Number(header.size(), version == 1 ? 2 : 4), header, content);
  return file;
}

std::string Zip(const std::vector<ZipEntry>& entries, bool zip64) {
  constexpr uint64_t kSeeZip64 = 0xffffffff;
  std::string file, directory;
  for (const ZipEntry& entry : entries) {
    const std::string packed = entry.deflate ? Deflated(entry.content) : entry.content;
    const uint64_t crc = crc32(0, reinterpret_cast<const Bytef*>(entry.content.data()),
                               static_cast<uInt>(entry.content.size()));
    const std::string method = Number(entry.deflate ? 8 : 0, 2);
    const uint64_t at = file.size();
    const std::string sizes = zip64 ? Number(kSeeZip64, 4) + Number(kSeeZip64, 4)
                                    : Number(packed.size(), 4) + Number(entry.content.size(), 4);
    const std::string extra = zip64
                                  ? Number(1, 2) + Number(24, 2) + Number(entry.content.size(), 8) +
                                        Number(packed.size(), 8) + Number(at, 8)
                                  : "";
    absl::StrAppend(&file, "PK\x03\x04", Number(45, 2), Number(0, 2), method, Number(0, 4),
                    Number(crc, 4), sizes, Number(entry.name.size(), 2), Number(0, 2), entry.name,
                    packed);
    absl::StrAppend(&directory, "PK\x01\x02", Number(45, 2), Number(45, 2), Number(0, 2), method,
                    Number(0, 4), Number(crc, 4), sizes, Number(entry.name.size(), 2),
                    Number(extra.size(), 2), Number(0, 2), Number(0, 2), Number(0, 2),
                    Number(0, 4));
    absl::StrAppend(&directory, Number(zip64 ? kSeeZip64 : at, 4), entry.name, extra);
  }
  const uint64_t at = file.size();
  file += directory;
  const uint64_t end64 = file.size();
  if (zip64) {
    absl::StrAppend(&file, "PK\x06\x06", Number(44, 8), Number(45, 2), Number(45, 2), Number(0, 4),
                    Number(0, 4));
    absl::StrAppend(&file, Number(entries.size(), 8), Number(entries.size(), 8),
                    Number(directory.size(), 8), Number(at, 8));
    absl::StrAppend(&file, "PK\x06\x07", Number(0, 4), Number(end64, 8), Number(1, 4));
  }
  absl::StrAppend(&file, "PK\x05\x06", Number(0, 4), Number(zip64 ? 0xffff : entries.size(), 2),
                  Number(zip64 ? 0xffff : entries.size(), 2),
                  Number(zip64 ? kSeeZip64 : directory.size(), 4),
                  Number(zip64 ? kSeeZip64 : at, 4), Number(0, 2));
  return file;
}

}  // namespace ds::testing
