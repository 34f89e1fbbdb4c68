// Blobs on the wire: where an upload stands, chunks, their acknowledgements. A chunk's head is read
// and written here without a copy of its data, which protobuf would make; the bytes are those of
// message Chunk in federation.proto all the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/wire/codec.h"

namespace ds::federated {

constexpr int64_t kMaxChunkBytes = 1 << 20;  // of data

struct UploadStatusRequest {
  std::string digest;
  int64_t size = 0;  // bytes of the whole blob
};
struct UploadStatusReply {
  int64_t received = 0;  // bytes, from the first on
};
struct DownloadRequest {
  std::string digest;
  int64_t offset = 0;
  int64_t chunk_bytes = kMaxChunkBytes;  // the most in a chunk; 0: only the blob's size is asked
};
struct ChunkReply {
  int64_t received = 0;
};
struct Chunk {
  std::string digest;  // empty but in an upload's first
  int64_t size = -1;   // of the blob; -1: not said
  int64_t offset = 0;
  absl::string_view data;  // in what was decoded
};

std::string Encode(const UploadStatusRequest& message);
std::string Encode(const UploadStatusReply& message);
std::string Encode(const DownloadRequest& message);
std::string Encode(const ChunkReply& message);
absl::StatusOr<UploadStatusRequest> DecodeUploadStatusRequest(absl::string_view bytes);
absl::StatusOr<UploadStatusReply> DecodeUploadStatusReply(absl::string_view bytes);
absl::StatusOr<DownloadRequest> DecodeDownloadRequest(absl::string_view bytes);
absl::StatusOr<ChunkReply> DecodeChunkReply(absl::string_view bytes);

// All of the message but its data, which follow (chunk.data.size() bytes of them).
std::string EncodeChunkHead(const Chunk& chunk);
// The data are the message's last field, as EncodeChunkHead writes it: anything behind them is
// refused.
absl::StatusOr<Chunk> DecodeChunk(absl::string_view bytes);

}  // namespace ds::federated
