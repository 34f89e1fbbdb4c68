// Any bytes as a message of the federation: InvalidArgument that says something, or a message that,
// written again, reads as the same bytes; never a crash. The first byte says which message.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "federated/wire/codec.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

// `written` of what was read must be a fixed point: reading it and writing it changes nothing.
template <typename Decode, typename Write>
void Check(absl::string_view bytes, Decode decode, Write write) {
  const auto message = decode(bytes);
  if (!message.ok()) {
    DS_CHECK(message.status().code() == absl::StatusCode::kInvalidArgument) << message.status();
    DS_CHECK(!message.status().message().empty());
    return;
  }
  const std::string written = write(*message);
  const auto again = decode(written);
  DS_CHECK(again.ok()) << again.status();
  DS_CHECK(write(*again) == written);
}

template <typename Decode>
void CheckPlain(absl::string_view bytes, Decode decode) {
  Check(bytes, decode, [](const auto& message) { return Encode(message); });
}

void CheckEvent(absl::string_view bytes, uint32_t version) {
  Check(
      bytes, [version](absl::string_view read) { return DecodeWatchEvent(read, version); },
      [version](const WatchEvent& event) {
        return event.sign_of_life ? EncodeSignOfLife() : EncodeSituation(event.situation, version);
      });
}

void CheckMessage(uint8_t kind, absl::string_view bytes) {
  switch (kind % 18) {
    case 0:
      return CheckPlain(bytes, DecodeHelloRequest);
    case 1:
      return CheckPlain(bytes, DecodeHelloReply);
    case 2:
      return CheckPlain(bytes, DecodeJoinRequest);
    case 3:
      return CheckPlain(bytes, DecodeJoinReply);
    case 4:
      return CheckPlain(bytes, DecodeCommitRequest);
    case 5:
      return CheckPlain(bytes, DecodeCommitReply);
    case 6:
      return CheckPlain(bytes, DecodeSecureRequest);
    case 7:
      return CheckPlain(bytes, DecodeSecureReply);
    case 8:
      return CheckPlain(bytes, DecodeEnrolRequest);
    case 9:
      return CheckPlain(bytes, DecodeEnrolReply);
    case 10:
      return CheckPlain(bytes, DecodeRenewRequest);
    case 11:
      return CheckPlain(bytes, DecodeUploadStatusRequest);
    case 12:
      return CheckPlain(bytes, DecodeUploadStatusReply);
    case 13:
      return CheckPlain(bytes, DecodeDownloadRequest);
    case 14:
      return CheckPlain(bytes, DecodeChunkReply);
    case 15:
      return CheckEvent(bytes, 1);
    case 16:
      return CheckEvent(bytes, 2);
    default:
      return Check(bytes, DecodeChunk, [](const Chunk& chunk) {
        return EncodeChunkHead(chunk) + std::string(chunk.data);
      });
  }
}

}  // namespace
}  // namespace ds::federated

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  ds::federated::CheckMessage(data[0],
                              absl::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
