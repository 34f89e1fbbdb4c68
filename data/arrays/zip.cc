#include "data/arrays/zip.h"

#include <zlib.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace ds {
namespace {

using Bytes = absl::Span<const std::byte>;

constexpr uint32_t kLocal = 0x04034b50, kEntry = 0x02014b50, kEnd = 0x06054b50;
constexpr uint32_t kEnd64 = 0x06064b50, kEnd64Locator = 0x07064b50;
constexpr uint64_t kLocalBytes = 30, kEntryBytes = 46, kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56, kEnd64LocatorBytes = 20;
constexpr uint64_t kMaxComment = 0xffff;
constexpr uint32_t kSeeZip64 = 0xffffffff;
constexpr uint16_t kZip64Extra = 1, kStored = 0, kDeflated = 8, kEncrypted = 1;
// Deflate never makes more of a byte.
constexpr uint64_t kMostInflation = 1032;

class Reader {
 public:
  Reader(Bytes bytes, absl::string_view origin) : bytes_(bytes), origin_(origin) {}

  bool Holds(uint64_t at, uint64_t count) const {
    return at <= bytes_.size() && count <= bytes_.size() - at;
  }
  // Little-endian; the caller has asked Holds.
  uint64_t Number(uint64_t at, int width) const {
    uint64_t value = 0;
    for (int i = 0; i < width; ++i)
      value |= std::to_integer<uint64_t>(bytes_[at + static_cast<uint64_t>(i)]) << (8 * i);
    return value;
  }
  uint16_t Short(uint64_t at) const { return static_cast<uint16_t>(Number(at, 2)); }
  uint32_t Word(uint64_t at) const { return static_cast<uint32_t>(Number(at, 4)); }
  Bytes Part(uint64_t at, uint64_t count) const { return bytes_.subspan(at, count); }
  uint64_t size() const { return bytes_.size(); }

  absl::Status Damaged(uint64_t at, absl::string_view what) const {
    return absl::DataLossError(absl::StrCat(origin_, ": damaged ZIP at byte ", at, ": ", what,
                                            "; write it again with numpy.savez"));
  }
  absl::Status Refused(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(origin_, ": ", what, " is not read; write it with numpy.savez"));
  }

 private:
  Bytes bytes_;
  absl::string_view origin_;
};

struct Directory {
  uint64_t at = 0, bytes = 0, entries = 0;
};

absl::StatusOr<Directory> FindDirectory64(const Reader& in, uint64_t end) {
  if (end < kEnd64LocatorBytes || in.Word(end - kEnd64LocatorBytes) != kEnd64Locator)
    return in.Damaged(end, "the zip64 directory is not there");
  const uint64_t at = in.Number(end - kEnd64LocatorBytes + 8, 8);
  if (!in.Holds(at, kEnd64Bytes) || in.Word(at) != kEnd64)
    return in.Damaged(end - kEnd64LocatorBytes, "the zip64 directory is not where it says");
  return Directory{in.Number(at + 48, 8), in.Number(at + 40, 8), in.Number(at + 32, 8)};
}

absl::StatusOr<Directory> FindDirectory(const Reader& in) {
  if (in.size() < kEndBytes) return in.Damaged(in.size(), "too short for a ZIP file");
  // The end record is last but for a comment, whose length it has.
  const uint64_t last = in.size() - kEndBytes;
  const uint64_t first = last > kMaxComment ? last - kMaxComment : 0;
  for (uint64_t end = last + 1; end-- > first;) {
    if (in.Word(end) != kEnd || in.Short(end + 20) != last - end) continue;
    if (in.Short(end + 4) != 0 || in.Short(end + 6) != 0) return in.Refused("a ZIP file in parts");
    Directory found{in.Word(end + 16), in.Word(end + 12), in.Short(end + 10)};
    if (found.at == kSeeZip64 || found.bytes == kSeeZip64 || found.entries == 0xffff) {
      DS_ASSIGN_OR_RETURN(found, FindDirectory64(in, end));
    }
    if (!in.Holds(found.at, found.bytes) || found.at + found.bytes > end ||
        found.entries > found.bytes / kEntryBytes) {
      return in.Damaged(end, "the directory does not fit the file");
    }
    return found;
  }
  return in.Damaged(in.size(), "no directory at the end: the file was cut, or is no ZIP file");
}

// The fields of an entry that may stand in its zip64 extra instead, in the order they have there.
absl::Status ReadZip64(const Reader& in, uint64_t at, uint64_t bytes,
                       uint64_t* const (&fields)[3]) {
  while (bytes >= 4) {
    const uint64_t size = in.Short(at + 2);
    if (size > bytes - 4) break;
    if (in.Short(at) == kZip64Extra) {
      uint64_t field_at = at + 4;
      for (uint64_t* field : fields) {
        if (*field != kSeeZip64) continue;
        if (field_at + 8 > at + 4 + size) return in.Damaged(at, "a zip64 field is missing");
        *field = in.Number(field_at, 8);
        field_at += 8;
      }
      return absl::OkStatus();
    }
    at += 4 + size;
    bytes -= 4 + size;
  }
  for (const uint64_t* field : fields) {
    if (*field == kSeeZip64) return in.Damaged(at, "a zip64 field is missing");
  }
  return absl::OkStatus();
}

// The member that the entry at `at` describes; `next` is then the entry behind it. Data ends before
// the directory at `limit`.
absl::StatusOr<ZipMember> ReadEntry(const Reader& in, uint64_t at, uint64_t end, uint64_t limit,
                                    uint64_t& next) {
  if (end - at < kEntryBytes || in.Word(at) != kEntry)
    return in.Damaged(at, "no entry of the directory");
  const uint64_t name = in.Short(at + 28), extra = in.Short(at + 30), comment = in.Short(at + 32);
  if (name + extra + comment > end - at - kEntryBytes)
    return in.Damaged(at, "an entry longer than the directory");
  next = at + kEntryBytes + name + extra + comment;
  if ((in.Short(at + 8) & kEncrypted) != 0) return in.Refused("an encrypted member");
  const uint16_t method = in.Short(at + 10);
  if (method != kStored && method != kDeflated)
    return in.Refused(absl::StrCat("compression method ", method));
  uint64_t packed = in.Word(at + 20), size = in.Word(at + 24), local = in.Word(at + 42);
  DS_RETURN_IF_ERROR(ReadZip64(in, at + kEntryBytes + name, extra, {&size, &packed, &local}));
  if (!in.Holds(local, kLocalBytes) || in.Word(local) != kLocal || in.Short(local + 8) != method)
    return in.Damaged(at, "the member is not where the directory says");
  const uint64_t data = local + kLocalBytes + in.Short(local + 26) + in.Short(local + 28);
  if (data > limit || packed > limit - data)
    return in.Damaged(at, "the member reaches into the directory");
  if (method == kStored ? size != packed : size / kMostInflation > packed)
    return in.Damaged(at, absl::StrCat(packed, " bytes cannot hold ", size));
  const Bytes text = in.Part(at + kEntryBytes, name);
  ZipMember member;
  member.name.assign(reinterpret_cast<const char*>(text.data()), text.size());
  member.deflated = method == kDeflated;
  member.crc = in.Word(at + 16);
  member.size = static_cast<int64_t>(size);
  member.bytes = in.Part(data, packed);
  return member;
}

absl::Status DamagedMember(absl::string_view origin, absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat(origin, ": ", what, "; the file is damaged: write it again"));
}

absl::StatusOr<std::shared_ptr<const std::vector<std::byte>>> Inflate(const ZipMember& member,
                                                                      absl::string_view origin) {
  auto out = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(member.size));
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return absl::ResourceExhaustedError("zlib has no memory to start");
  constexpr size_t kStep = size_t{1} << 30;
  size_t fed = 0, filled = 0;
  int code = Z_OK;
  while (code == Z_OK) {
    const size_t in = std::min(kStep, member.bytes.size() - fed);
    const size_t room = std::min(kStep, out->size() - filled);
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(member.bytes.data() + fed));
    stream.avail_in = static_cast<uInt>(in);
    stream.next_out = reinterpret_cast<Bytef*>(out->data() + filled);
    stream.avail_out = static_cast<uInt>(room);
    code = inflate(&stream, Z_NO_FLUSH);
    const size_t taken = in - stream.avail_in, made = room - stream.avail_out;
    fed += taken;
    filled += made;
    if (code == Z_OK && taken == 0 && made == 0) break;
  }
  inflateEnd(&stream);
  if (code != Z_STREAM_END || filled != out->size() || fed != member.bytes.size())
    return DamagedMember(origin, "its compressed bytes are not what the directory says");
  if (crc32_z(0, reinterpret_cast<const Bytef*>(out->data()), out->size()) != member.crc)
    return DamagedMember(origin, "its checksum is another");
  return out;
}

}  // namespace

absl::StatusOr<std::vector<ZipMember>> ParseZip(absl::Span<const std::byte> bytes,
                                                absl::string_view origin) {
  const Reader in(bytes, origin);
  DS_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(in));
  std::vector<ZipMember> members;
  std::set<std::string> names;
  uint64_t at = directory.at;
  const uint64_t end = directory.at + directory.bytes;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    uint64_t next = 0;
    DS_ASSIGN_OR_RETURN(ZipMember member, ReadEntry(in, at, end, directory.at, next));
    if (!names.insert(member.name).second)
      return in.Damaged(at, absl::StrCat("'", member.name, "' is there twice"));
    members.push_back(std::move(member));
    at = next;
  }
  if (at != end) return in.Damaged(at, "bytes behind the directory's last entry");
  return members;
}

absl::StatusOr<std::vector<StoredArray>> ParseNpz(absl::Span<const std::byte> bytes,
                                                  absl::string_view origin,
                                                  std::shared_ptr<const void> owner,
                                                  int64_t max_inflated) {
  DS_ASSIGN_OR_RETURN(const std::vector<ZipMember> members, ParseZip(bytes, origin));
  std::vector<StoredArray> arrays;
  int64_t left = max_inflated;
  for (const ZipMember& member : members) {
    const std::string where = absl::StrCat(origin, ": ", member.name);
    if (!absl::EndsWith(member.name, ".npy")) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " is no array; write the file with numpy.savez"));
    }
    std::shared_ptr<const void> keeper = owner;
    absl::Span<const std::byte> content = member.bytes;
    if (member.deflated) {
      if (member.size > left) {
        return absl::ResourceExhaustedError(absl::StrCat(
            where, ": compressed arrays are held in memory, and these are more than ", max_inflated,
            " bytes; write the file with numpy.savez, not savez_compressed: it is then mapped"));
      }
      left -= member.size;
      DS_ASSIGN_OR_RETURN(const auto inflated, Inflate(member, where));
      content = *inflated;
      keeper = inflated;
    }
    DS_ASSIGN_OR_RETURN(StoredArray array, ParseNpy(content, where));
    array.name = std::string(absl::StripSuffix(member.name, ".npy"));
    array.owner = std::move(keeper);
    arrays.push_back(std::move(array));
  }
  return arrays;
}

}  // namespace ds
