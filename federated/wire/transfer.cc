#include "federated/wire/transfer.h"

#include <algorithm>
#include <string>

#include "base/status.h"
#include "federated/wire/reading.h"
#include "federation.pb.h"

namespace ds::federated {
namespace {

// Protobuf's encoding of Chunk's fields: (number << 3) | wire type, then a varint, or a length and
// bytes.
constexpr uint8_t kDigestTag = 1 << 3 | 2, kSizeTag = 2 << 3, kOffsetTag = 3 << 3,
                  kDataTag = 4 << 3 | 2;
constexpr int kVarintBits = 7;

void PutVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= kVarintBits) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// False where the bytes end, or go on beyond 64 bits.
bool TakeVarint(absl::string_view& bytes, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !bytes.empty(); shift += kVarintBits) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    if (shift == 63 && byte > 1) return false;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

absl::Status Malformed() {
  return absl::InvalidArgumentError("Chunk: its head is not as federation.proto says");
}

}  // namespace

std::string Encode(const UploadStatusRequest& message) {
  v1::UploadStatusRequest wire;
  wire.set_digest(message.digest);
  wire.set_size(message.size);
  return wire.SerializeAsString();
}

absl::StatusOr<UploadStatusRequest> DecodeUploadStatusRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire,
                      ParseProto<v1::UploadStatusRequest>("UploadStatusRequest", bytes));
  Reading reading("UploadStatusRequest");
  reading.Digest("digest", wire.digest());
  reading.Range("size", wire.size(), 0, kMaxBlobBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return UploadStatusRequest{.digest = wire.digest(), .size = wire.size()};
}

std::string Encode(const UploadStatusReply& message) {
  v1::UploadStatusReply wire;
  wire.set_received(message.received);
  return wire.SerializeAsString();
}

absl::StatusOr<UploadStatusReply> DecodeUploadStatusReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire,
                      ParseProto<v1::UploadStatusReply>("UploadStatusReply", bytes));
  Reading reading("UploadStatusReply");
  reading.Range("received", wire.received(), 0, kMaxBlobBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return UploadStatusReply{.received = wire.received()};
}

std::string Encode(const DownloadRequest& message) {
  v1::DownloadRequest wire;
  wire.set_digest(message.digest);
  wire.set_offset(message.offset);
  wire.set_chunk_bytes(message.chunk_bytes);
  return wire.SerializeAsString();
}

absl::StatusOr<DownloadRequest> DecodeDownloadRequest(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::DownloadRequest>("DownloadRequest", bytes));
  Reading reading("DownloadRequest");
  reading.Digest("digest", wire.digest());
  reading.Range("offset", wire.offset(), 0, kMaxBlobBytes);
  reading.Range("chunk_bytes", wire.chunk_bytes(), 0, kMaxBlobBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return DownloadRequest{.digest = wire.digest(),
                         .offset = wire.offset(),
                         .chunk_bytes = std::min<int64_t>(wire.chunk_bytes(), kMaxChunkBytes)};
}

std::string Encode(const ChunkReply& message) {
  v1::ChunkReply wire;
  wire.set_received(message.received);
  return wire.SerializeAsString();
}

absl::StatusOr<ChunkReply> DecodeChunkReply(absl::string_view bytes) {
  DS_ASSIGN_OR_RETURN(const auto wire, ParseProto<v1::ChunkReply>("ChunkReply", bytes));
  Reading reading("ChunkReply");
  reading.Range("received", wire.received(), 0, kMaxBlobBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return ChunkReply{.received = wire.received()};
}

std::string EncodeChunkHead(const Chunk& chunk) {
  std::string head;
  if (!chunk.digest.empty()) {
    head.push_back(kDigestTag);
    PutVarint(chunk.digest.size(), head);
    head += chunk.digest;
  }
  if (chunk.size >= 0) {
    head.push_back(kSizeTag);
    PutVarint(static_cast<uint64_t>(chunk.size), head);
  }
  head.push_back(kOffsetTag);
  PutVarint(static_cast<uint64_t>(chunk.offset), head);
  head.push_back(kDataTag);
  PutVarint(chunk.data.size(), head);
  return head;
}

absl::StatusOr<Chunk> DecodeChunk(absl::string_view bytes) {
  Chunk chunk;
  while (!bytes.empty()) {
    const auto tag = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    uint64_t value = 0;
    if (!TakeVarint(bytes, value)) return Malformed();
    if (tag == kSizeTag || tag == kOffsetTag) {
      if (value > static_cast<uint64_t>(kMaxBlobBytes))
        return absl::InvalidArgumentError(
            absl::StrCat("Chunk: a ", tag == kSizeTag ? "size" : "offset", " of ", value));
      (tag == kSizeTag ? chunk.size : chunk.offset) = static_cast<int64_t>(value);
    } else if (tag == kDigestTag || tag == kDataTag) {
      if (value > bytes.size()) return Malformed();
      const absl::string_view field = bytes.substr(0, value);
      bytes.remove_prefix(value);
      if (tag == kDigestTag) {
        chunk.digest = std::string(field);
      } else {
        chunk.data = field;
        break;
      }
    } else {
      return Malformed();
    }
  }
  Reading reading("Chunk");
  if (!bytes.empty()) reading.Fail("data", "is not the last field");
  reading.DigestOrEmpty("digest", chunk.digest);
  reading.Size("data", chunk.data, kMaxChunkBytes);
  DS_RETURN_IF_ERROR(reading.status());
  return chunk;
}

}  // namespace ds::federated
