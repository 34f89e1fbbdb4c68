// Published's bytes, little-endian: the four bytes "DSP1", int64 version, uint32 groups; then a
// group each: int64 base_version, divisor, updates, values; uint32 bits; the packed values.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/update/global_model.h"

namespace ds::federated {
namespace {

constexpr char kMagic[] = "DSP1";
constexpr size_t kMagicBytes = 4;
constexpr uint32_t kMostGroups = 1 << 20;

template <typename T>
void Put(T value, std::string& out) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

absl::Status Damaged(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("a published sum ", what, ": its bytes are damaged"));
}

class Reader {
 public:
  explicit Reader(absl::string_view bytes) : left_(bytes) {}

  template <typename T>
  bool Get(T& value) {
    if (left_.size() < sizeof(T)) return false;
    std::memcpy(&value, left_.data(), sizeof(T));
    left_.remove_prefix(sizeof(T));
    return true;
  }
  bool Skip(absl::string_view expected) {
    if (left_.substr(0, expected.size()) != expected) return false;
    left_.remove_prefix(expected.size());
    return true;
  }
  // size <= left().
  absl::Span<const std::byte> Take(size_t size) {
    const absl::Span<const std::byte> bytes(reinterpret_cast<const std::byte*>(left_.data()), size);
    left_.remove_prefix(size);
    return bytes;
  }
  size_t left() const { return left_.size(); }

 private:
  absl::string_view left_;
};

absl::StatusOr<PublishedGroup> ReadGroup(Reader& reader) {
  PublishedGroup group;
  int64_t values = 0;
  uint32_t bits = 0;
  if (!reader.Get(group.base_version) || !reader.Get(group.divisor) || !reader.Get(group.updates) ||
      !reader.Get(values) || !reader.Get(bits)) {
    return Damaged("ends in the middle of a group");
  }
  if (group.base_version < 0 || group.divisor < 1 || group.updates < 1)
    return Damaged("has a group without updates");
  if (bits < 1 || bits > kMostBits || values < 0 ||
      static_cast<uint64_t>(values) > 8 * static_cast<uint64_t>(reader.left())) {
    return Damaged(absl::StrCat("claims ", values, " values of ", bits, " bits"));
  }
  const size_t size = static_cast<size_t>(PackedSize(values, static_cast<int>(bits)));
  if (size > reader.left()) return Damaged(absl::StrCat("is shorter than its ", values, " values"));
  DS_ASSIGN_OR_RETURN(group.sum, Unpack(reader.Take(size), static_cast<int>(bits), values));
  return group;
}

}  // namespace

std::string Published::Encode() const {
  std::string out;
  size_t size = 64;
  for (const PublishedGroup& group : groups)
    size += 64 + static_cast<size_t>(PackedSize(group.sum.size(), group.sum.bits()));
  out.reserve(size);
  out.append(kMagic, kMagicBytes);
  Put(version, out);
  Put(static_cast<uint32_t>(groups.size()), out);
  for (const PublishedGroup& group : groups) {
    Put(group.base_version, out);
    Put(group.divisor, out);
    Put(group.updates, out);
    Put(group.sum.size(), out);
    Put(static_cast<uint32_t>(group.sum.bits()), out);
    const size_t at = out.size();
    out.resize(at + static_cast<size_t>(PackedSize(group.sum.size(), group.sum.bits())));
    PackValues(group.sum, 0, group.sum.size(),
               absl::MakeSpan(reinterpret_cast<std::byte*>(out.data()) + at, out.size() - at));
  }
  return out;
}

absl::StatusOr<Published> Published::Decode(absl::string_view bytes) {
  Reader reader(bytes);
  Published published;
  uint32_t groups = 0;
  if (!reader.Skip(absl::string_view(kMagic, kMagicBytes)) || !reader.Get(published.version) ||
      !reader.Get(groups)) {
    return Damaged("has no header");
  }
  if (published.version < 1 || groups < 1 || groups > kMostGroups)
    return Damaged(absl::StrCat("of version ", published.version, " claims ", groups, " groups"));
  for (uint32_t i = 0; i < groups; ++i) {
    DS_ASSIGN_OR_RETURN(PublishedGroup group, ReadGroup(reader));
    published.groups.push_back(std::move(group));
  }
  if (reader.left() > 0) return Damaged(absl::StrCat("has ", reader.left(), " bytes too many"));
  return published;
}

}  // namespace ds::federated
