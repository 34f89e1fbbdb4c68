#include "federated/rpc/transfers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/rpc/buffers.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

using Operation = StreamCall::Operation;

// Chunks on their way that were not acknowledged: enough to keep the way busy.
constexpr int64_t kUnacknowledgedChunks = 8;

class Uploading {
 public:
  Uploading(const std::string& digest, const BlobReader& blob, int64_t offset, int64_t chunk_bytes,
            StreamCall& call)
      : digest_(digest),
        blob_(blob),
        chunk_bytes_(chunk_bytes),
        call_(call),
        sent_(offset),
        received_(offset) {}

  Attempt Run() {
    call_.Start();
    call_.Read();
    while (true) {
      const StreamCall::Event event = call_.Next();
      absl::Status status;
      switch (event.operation) {
        case Operation::kNone:
          return {absl::UnavailableError("the aggregator takes no more of the upload"), progress_};
        case Operation::kRead:
          // The stream's end, and why.
          if (!event.ok) return {End(), progress_};
          status = Acknowledged();
          break;
        default:
          // What fails to be written shows in the read, with the reason.
          writing_ = !event.ok;
          break;
      }
      if (status.ok()) status = SendMore();
      if (!status.ok()) return {status, progress_};
    }
  }

 private:
  absl::Status End() {
    DS_RETURN_IF_ERROR(call_.Finish());
    if (received_ == blob_.size()) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("the aggregator ended an upload after ", received_, " bytes"));
  }

  absl::Status Acknowledged() {
    DS_ASSIGN_OR_RETURN(const ChunkReply reply, DecodeChunkReply(ToString(call_.TakeMessage())));
    progress_ = progress_ || reply.received > received_;
    received_ = std::max(received_, reply.received);
    call_.Read();
    return absl::OkStatus();
  }

  absl::Status SendMore() {
    if (writing_ || sent_ - received_ >= kUnacknowledgedChunks * chunk_bytes_)
      return absl::OkStatus();
    const bool first = !began_;
    if (sent_ == blob_.size() && !first) {
      if (!all_sent_) {
        all_sent_ = writing_ = true;
        call_.WritesDone();
      }
      return absl::OkStatus();
    }
    const int64_t count = std::min(chunk_bytes_, blob_.size() - sent_);
    auto data = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(count));
    DS_RETURN_IF_ERROR(blob_.Read(sent_, absl::MakeSpan(*data)));
    const std::string head =
        EncodeChunkHead({.digest = first ? digest_ : "",
                         .size = first ? blob_.size() : -1,
                         .offset = sent_,
                         .data = {reinterpret_cast<const char*>(data->data()), data->size()}});
    began_ = writing_ = true;
    sent_ += count;
    call_.Write(ToBuffer(head, std::move(data)));
    return absl::OkStatus();
  }

  const std::string& digest_;
  const BlobReader& blob_;
  const int64_t chunk_bytes_;
  StreamCall& call_;
  int64_t sent_, received_;
  bool began_ = false, all_sent_ = false, progress_ = false;
  bool writing_ = true;  // until the call has started
};

// One message up, and then the first one down is being read.
absl::Status Request(StreamCall& call, grpc::ByteBuffer request) {
  call.Start();
  bool written = false;
  while (true) {
    const StreamCall::Event event = call.Next();
    if (event.operation == Operation::kNone)
      return absl::UnavailableError("the aggregator takes no call");
    if (!event.ok) {
      DS_RETURN_IF_ERROR(call.Finish());
      return absl::UnavailableError("the aggregator ended a call before its answer");
    }
    if (event.operation == Operation::kStart) {
      call.Write(std::move(request));
    } else if (event.operation == Operation::kWrite && !written) {
      written = true;
      call.WritesDone();
    } else {
      call.Read();
      return absl::OkStatus();
    }
  }
}

absl::Status ReadChunks(StreamCall& call, BlobWriter& into, bool& progress) {
  int64_t size = -1;
  while (true) {
    const StreamCall::Event event = call.Next();
    if (event.operation == Operation::kNone)
      return absl::UnavailableError("the aggregator sends no more of a download");
    if (!event.ok) break;
    const std::string bytes = ToString(call.TakeMessage());
    call.Read();  // while this one is written
    DS_ASSIGN_OR_RETURN(const Chunk chunk, DecodeChunk(bytes));
    if (chunk.size < 0 || chunk.offset != into.received())
      return absl::DataLossError(absl::StrCat("the aggregator sent the bytes at ", chunk.offset,
                                              " of a blob instead of those at ", into.received()));
    size = chunk.size;
    DS_RETURN_IF_ERROR(into.Write(
        chunk.offset, absl::MakeConstSpan(reinterpret_cast<const std::byte*>(chunk.data.data()),
                                          chunk.data.size())));
    progress = progress || !chunk.data.empty();
  }
  DS_RETURN_IF_ERROR(call.Finish());
  if (into.received() == size) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("the aggregator ended a download after ", into.received(), " bytes"));
}

}  // namespace

Attempt TryUpload(const std::shared_ptr<grpc::Channel>& channel, const std::string& digest,
                  const BlobReader& blob, int64_t offset, int64_t chunk_bytes,
                  const CallOptions& options) {
  StreamCall call(channel, "Upload", options);
  return Uploading(digest, blob, offset, chunk_bytes, call).Run();
}

Attempt TryDownload(const std::shared_ptr<grpc::Channel>& channel, const std::string& digest,
                    BlobWriter& into, int64_t chunk_bytes, const CallOptions& options) {
  StreamCall call(channel, "Download", options);
  Attempt attempt;
  attempt.status =
      Request(call, ToBuffer(Encode(DownloadRequest{
                        .digest = digest, .offset = into.received(), .chunk_bytes = chunk_bytes})));
  if (attempt.status.ok()) attempt.status = ReadChunks(call, into, attempt.progress);
  return attempt;
}

absl::StatusOr<int64_t> AskSize(const std::shared_ptr<grpc::Channel>& channel,
                                const std::string& digest, const CallOptions& options) {
  DS_ASSIGN_OR_RETURN(
      const std::string reply,
      UnaryCallTo(channel, "Download",
                  Encode(DownloadRequest{.digest = digest, .offset = 0, .chunk_bytes = 0}),
                  options));
  DS_ASSIGN_OR_RETURN(const Chunk chunk, DecodeChunk(reply));
  if (chunk.size < 0) return absl::DataLossError("the aggregator said no size");
  return chunk.size;
}

}  // namespace ds::federated
