#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

// A request in, chunks out. One chunk is under way at a time, and holds its share of the budget
// until gRPC has it on the wire.
class DownloadCall : public ServerCall {
 public:
  using ServerCall::ServerCall;

  void Begin() override { Read(core_.requests); }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      ReadIsDone();
      Progress();
      if (!ok) return Finish(absl::InvalidArgumentError("a call without its message"));
    }
    core_.pool.Submit(
        [self = std::static_pointer_cast<DownloadCall>(shared_from_this())] { self->Open(); });
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      WriteIsDone();
      Progress();
      share_.Release();
      if (!ok) return Finish(absl::CancelledError("the caller went away"));
      outgoing_.Clear();
      if (offset_ == end_) return Finish(absl::OkStatus());
    }
    Ask();
  }

 private:
  void Open() {
    const absl::Status status = OpenBlob(ToString(incoming_));
    incoming_.Clear();
    {
      MutexLock lock(mutex_);
      share_.Release();
    }
    if (!status.ok()) return End(status);
    Ask();
  }

  absl::Status OpenBlob(const std::string& bytes) {
    DS_ASSIGN_OR_RETURN(const DownloadRequest request, DecodeDownloadRequest(bytes));
    DS_ASSIGN_OR_RETURN(blob_, core_.service.Download(caller(), request.digest));
    if (request.offset > blob_->size())
      return absl::InvalidArgumentError(
          absl::StrCat("offset ", request.offset, " of a blob of ", blob_->size(), " bytes"));
    chunk_bytes_ = request.chunk_bytes;
    MutexLock lock(mutex_);
    offset_ = request.offset;
    end_ = request.chunk_bytes == 0 ? request.offset : blob_->size();
    return absl::OkStatus();
  }

  void Ask() {
    auto self = std::static_pointer_cast<DownloadCall>(shared_from_this());
    core_.chunks.Take(caller().site, kMaxChunkBytes, [self](Budget::Share share) {
      {
        MutexLock lock(self->mutex_);
        self->share_ = std::move(share);
        if (self->finished_) return self->share_.Release();
      }
      // The budget may call at once, on gRPC's thread: the work is not for that one.
      self->core_.pool.Submit([self] { self->Send(); });
    });
  }

  void Send() {
    int64_t offset, count;
    {
      MutexLock lock(mutex_);
      offset = offset_;
      count = std::min(chunk_bytes_, end_ - offset_);
    }
    auto data = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(count));
    const absl::Status status = blob_->Read(offset, absl::MakeSpan(*data));
    if (!status.ok()) return End(status);
    const std::string head =
        EncodeChunkHead({.size = blob_->size(),
                         .offset = offset,
                         .data = {reinterpret_cast<const char*>(data->data()), data->size()}});
    MutexLock lock(mutex_);
    offset_ += count;
    Progress();
    Write(ToBuffer(head, std::move(data)));
  }

  bool WaitsForCaller() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return reading_ || writing_;
  }

  // Written before the first chunk is asked for.
  std::shared_ptr<BlobReader> blob_;
  int64_t chunk_bytes_ = 0;

  int64_t offset_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t end_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::shared_ptr<ServerCall> MakeDownloadCall(ServerCore& core,
                                             grpc::GenericCallbackServerContext& context,
                                             CallFacts facts) {
  return std::make_shared<DownloadCall>(core, context, std::move(facts));
}

}  // namespace ds::federated
