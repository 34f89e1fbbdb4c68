#include "data/file_bytes.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr int kGzipWindowBits = 15 + 16;  // the largest window, gzip framing only
constexpr int64_t kInflateStep = 1 << 20;

class Inflater {
 public:
  Inflater() { ready_ = inflateInit2(&stream_, kGzipWindowBits) == Z_OK; }
  ~Inflater() {
    if (ready_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool ready() const { return ready_; }
  z_stream& stream() { return stream_; }

 private:
  z_stream stream_ = {};
  bool ready_ = false;
};

absl::Status Damaged(absl::string_view origin, int64_t offset, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(origin, ": damaged gzip stream at compressed byte ",
                                          offset, ": ", what, "; get the file again"));
}

// Inflates until the stream ends or `limit` bytes are out, whichever comes first.
absl::Status Inflate(ByteSpan bytes, absl::string_view origin, int64_t limit,
                     std::vector<uint8_t>* out, bool* complete) {
  Inflater inflater;
  if (!inflater.ready()) return absl::ResourceExhaustedError("zlib has no memory to start");
  z_stream& stream = inflater.stream();
  size_t fed = 0;
  size_t filled = 0;
  *complete = false;
  while (static_cast<int64_t>(filled) < limit) {
    if (stream.avail_in == 0 && fed < bytes.size()) {
      const size_t step = std::min<size_t>(bytes.size() - fed, 1u << 30);
      stream.next_in = const_cast<uint8_t*>(bytes.data() + fed);
      stream.avail_in = static_cast<uInt>(step);
      fed += step;
    }
    const int64_t room = std::min(limit - static_cast<int64_t>(filled), kInflateStep);
    if (out->size() < filled + room) out->resize(filled + room);
    stream.next_out = out->data() + filled;
    stream.avail_out = static_cast<uInt>(room);
    const int code = inflate(&stream, Z_NO_FLUSH);
    filled += room - stream.avail_out;
    const int64_t offset = static_cast<int64_t>(fed) - stream.avail_in;
    if (code == Z_STREAM_END) {
      if (offset == static_cast<int64_t>(bytes.size())) {
        *complete = true;
        break;
      }
      const uint8_t* rest = bytes.data() + offset;
      if (!IsGzip({rest, bytes.size() - offset})) {
        return Damaged(origin, offset,
                       absl::StrCat(bytes.size() - offset, " bytes follow the end of the stream"));
      }
      inflateReset(&stream);
    } else if (code == Z_BUF_ERROR ||
               (code == Z_OK && stream.avail_out > 0 && stream.avail_in == 0)) {
      if (fed == bytes.size() && stream.avail_in == 0) {
        return Damaged(origin, offset,
                       absl::StrCat("it ends early, after ", filled, " bytes of data"));
      }
    } else if (code != Z_OK) {
      return Damaged(origin, offset, stream.msg != nullptr ? stream.msg : "unreadable");
    }
  }
  out->resize(filled);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> ReadFileBytes(const std::string& path, int64_t max_bytes) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (file == nullptr) {
    const std::string message = absl::StrCat("cannot open ", path, ": ", std::strerror(errno),
                                             "; check that the file exists and may be read");
    return errno == ENOENT ? absl::NotFoundError(message) : absl::PermissionDeniedError(message);
  }
  struct stat status;
  if (fstat(fileno(file.get()), &status) != 0 || !S_ISREG(status.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, " is not a regular file; name the data file itself"));
  }
  if (status.st_size > max_bytes) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": ", status.st_size,
                                                     " bytes, more than the limit of ", max_bytes,
                                                     "; split the file"));
  }
  std::vector<uint8_t> bytes(status.st_size);
  const size_t got = std::fread(bytes.data(), 1, bytes.size(), file.get());
  if (got != bytes.size()) {
    return absl::DataLossError(absl::StrCat(path, ": reading stopped at byte ", got, " of ",
                                            bytes.size(), ": ", std::strerror(errno),
                                            "; check the disk"));
  }
  return bytes;
}

bool IsGzip(ByteSpan bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

absl::StatusOr<std::vector<uint8_t>> InflateGzip(ByteSpan bytes, absl::string_view origin,
                                                 int64_t max_bytes) {
  std::vector<uint8_t> out;
  bool complete = false;
  // One byte more than allowed, so that a stream of exactly `max_bytes` is told from a longer one.
  DS_RETURN_IF_ERROR(Inflate(bytes, origin, max_bytes + 1, &out, &complete));
  if (static_cast<int64_t>(out.size()) > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(origin, ": inflates to more than the ", max_bytes,
                     " bytes it should hold; the file is damaged or hostile: get it again"));
  }
  return out;
}

absl::StatusOr<std::vector<uint8_t>> InflateGzipPrefix(ByteSpan bytes, absl::string_view origin,
                                                       int64_t count) {
  std::vector<uint8_t> out;
  bool complete = false;
  DS_RETURN_IF_ERROR(Inflate(bytes, origin, count, &out, &complete));
  return out;
}

}  // namespace ds
