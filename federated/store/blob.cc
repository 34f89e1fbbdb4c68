#include <algorithm>
#include <cstring>

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

absl::StatusOr<std::string> PutBlob(Store& store, absl::Span<const std::byte> bytes) {
  Sha256 hash;
  hash.Update(bytes);
  const std::string digest = hash.Hex();
  DS_ASSIGN_OR_RETURN(auto writer, store.Write(digest, static_cast<int64_t>(bytes.size())));
  absl::Status status = writer->Write(0, bytes);
  if (status.ok()) status = writer->Finish();
  if (absl::IsDataLoss(status)) {
    // What an earlier writer left under this name was not it.
    writer.reset();
    DS_RETURN_IF_ERROR(store.Remove(digest));
    DS_ASSIGN_OR_RETURN(writer, store.Write(digest, static_cast<int64_t>(bytes.size())));
    DS_RETURN_IF_ERROR(writer->Write(0, bytes));
    status = writer->Finish();
  }
  DS_RETURN_IF_ERROR(status);
  return digest;
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
