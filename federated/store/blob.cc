#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/store/digest.h"
#include "federated/store/store.h"

namespace ds::federated {
namespace {

class OverSpan final : public BlobReader {
 public:
  explicit OverSpan(absl::Span<const std::byte> bytes) : bytes_(bytes) {}
  int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    if (offset < 0 || offset > size() || static_cast<int64_t>(out.size()) > size() - offset)
      return absl::OutOfRangeError(
          absl::StrCat("bytes ", offset, " to ", offset + out.size(), " of a blob of ", size()));
    if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  const absl::Span<const std::byte> bytes_;
};

}  // namespace

std::shared_ptr<BlobReader> SpanReader(absl::Span<const std::byte> bytes) {
  return std::make_shared<OverSpan>(bytes);
}

absl::Status ForBlocks(
    const BlobReader& blob, int64_t begin, int64_t end,
    absl::FunctionRef<absl::Status(int64_t offset, absl::Span<const std::byte> bytes)> visit) {
  constexpr int64_t kBlock = 64 << 10;
  std::vector<std::byte> block(static_cast<size_t>(std::min(kBlock, end - begin)));
  while (begin < end) {
    const auto part =
        absl::MakeSpan(block).first(static_cast<size_t>(std::min(kBlock, end - begin)));
    DS_RETURN_IF_ERROR(blob.Read(begin, part));
    DS_RETURN_IF_ERROR(visit(begin, part));
    begin += static_cast<int64_t>(part.size());
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> PutBlob(Store& store, const BlobReader& bytes) {
  Sha256 hash;
  DS_RETURN_IF_ERROR(
      ForBlocks(bytes, 0, bytes.size(), [&](int64_t, absl::Span<const std::byte> block) {
        hash.Update(block);
        return absl::OkStatus();
      }));
  const std::string digest = hash.Hex();
  const auto write = [&]() -> absl::Status {
    DS_ASSIGN_OR_RETURN(auto writer, store.Write(digest, bytes.size()));
    DS_RETURN_IF_ERROR(
        ForBlocks(bytes, 0, bytes.size(), [&](int64_t offset, absl::Span<const std::byte> block) {
          return writer->Write(offset, block);
        }));
    return writer->Finish();
  };
  absl::Status status = write();
  if (absl::IsDataLoss(status)) {
    DS_RETURN_IF_ERROR(store.Remove(digest));
    status = write();
  }
  DS_RETURN_IF_ERROR(status);
  return digest;
}

absl::StatusOr<std::string> PutBlob(Store& store, absl::Span<const std::byte> bytes) {
  return PutBlob(store, *SpanReader(bytes));
}

absl::StatusOr<std::string> GetBlob(const Store& store, const std::string& digest) {
  DS_ASSIGN_OR_RETURN(const auto reader, store.Read(digest));
  std::string bytes(static_cast<size_t>(reader->size()), '\0');
  DS_RETURN_IF_ERROR(
      reader->Read(0, absl::MakeSpan(reinterpret_cast<std::byte*>(bytes.data()), bytes.size())));
  if (const std::string found = Sha256Hex(bytes); found != digest)
    return absl::DataLossError(absl::StrCat("blob ", digest, " has the SHA-256 ", found,
                                            " now: it was changed on the disk; restore it from a "
                                            "copy"));
  return bytes;
}

}  // namespace ds::federated
