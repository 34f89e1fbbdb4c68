#include "federated/aggregator/blobs/blob_files.h"

#include <utility>

#include "base/file/file_system.h"
#include "base/status.h"
#include "federated/store/file_reader.h"

namespace ds::federated {
absl::Status BlobToFile(const BlobReader& blob, const std::string& path) {
  DS_ASSIGN_OR_RETURN(auto file,
                      FileSystem::Default().Open(path, FileSystem::OpenMode::kReplacePrivate));
  return ForBlocks(blob, 0, blob.size(), [&](int64_t, absl::Span<const std::byte> bytes) {
    return file->Append({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  });
}

absl::StatusOr<BlobRef> FileToBlob(const std::string& path, Store& store) {
  DS_ASSIGN_OR_RETURN(const auto file, OpenFileReader(path));
  DS_ASSIGN_OR_RETURN(std::string digest, PutBlob(store, *file));
  return BlobRef{.digest = std::move(digest), .size = file->size()};
}

void RemoveScratch(const std::string& path) {
  // What is left of it is replaced by the next.
  static_cast<void>(FileSystem::Default().RemoveFile(path));
}

}  // namespace ds::federated
