#include "federated/aggregator/blobs/blob_files.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "base/file/file_system.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "federated/store/file_reader.h"

namespace ds::federated {
namespace {

constexpr int64_t kBlock = 1 << 20;

// Calls f(offset, bytes) for the whole blob, in order.
template <typename Function>
absl::Status ForBlocks(const BlobReader& blob, const Function& f) {
  std::vector<std::byte> block(std::min(kBlock, blob.size()));
  for (int64_t offset = 0; offset < blob.size(); offset += kBlock) {
    const auto bytes = absl::MakeSpan(block).first(std::min(kBlock, blob.size() - offset));
    DS_RETURN_IF_ERROR(blob.Read(offset, bytes));
    DS_RETURN_IF_ERROR(f(offset, absl::Span<const std::byte>(bytes)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status BlobToFile(const BlobReader& blob, const std::string& path) {
  DS_ASSIGN_OR_RETURN(auto file,
                      FileSystem::Default().Open(path, FileSystem::OpenMode::kReplacePrivate));
  return ForBlocks(blob, [&](int64_t, absl::Span<const std::byte> bytes) {
    return file->Append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  });
}

absl::StatusOr<BlobRef> FileToBlob(const std::string& path, Store& store) {
  DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(path));
  Sha256 hash;
  DS_RETURN_IF_ERROR(ForBlocks(*file, [&](int64_t, absl::Span<const std::byte> bytes) {
    hash.Update(bytes);
    return absl::OkStatus();
  }));
  BlobRef blob{.digest = hash.Hex(), .size = file->size()};
  if (store.Has(blob.digest)) return blob;
  DS_ASSIGN_OR_RETURN(auto writer, store.Write(blob.digest, blob.size));
  DS_RETURN_IF_ERROR(ForBlocks(*file, [&](int64_t offset, absl::Span<const std::byte> bytes) {
    return writer->Write(offset, bytes);
  }));
  DS_RETURN_IF_ERROR(writer->Finish());
  return blob;
}

void RemoveScratch(const std::string& path) {
  // What is left of it is replaced by the next.
  static_cast<void>(FileSystem::Default().RemoveFile(path));
}

}  // namespace ds::federated
