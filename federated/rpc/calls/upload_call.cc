#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

// Chunks in, acknowledgements out. One chunk is stored while the next is read; each holds a share
// of the budget from before it is read until it is stored.
class UploadCall : public ServerCall {
 public:
  using ServerCall::ServerCall;

  void Begin() override { Read(core_.chunks); }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      ReadIsDone();
      Progress();
      asking_ = false;
      if (!ok) {
        ended_ = true;
        share_.Release();
        return FinishIfAllIsStored();
      }
      arrived_.push_back({std::move(incoming_), std::move(share_)});
      incoming_.Clear();
      if (storing_) return;  // who then asks for the next one
      storing_ = true;
      asking_ = true;
    }
    core_.pool.Submit(
        [self = std::static_pointer_cast<UploadCall>(shared_from_this())] { self->StoreAll(); });
    Read(core_.chunks);
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    WriteIsDone();
    Progress();
    if (!ok) return Finish(absl::CancelledError("the caller went away"));
    Acknowledge();
  }

 private:
  struct Arrived {
    grpc::ByteBuffer bytes;
    Budget::Share share;
  };

  void StoreAll() {
    while (true) {
      Arrived arrived;
      {
        MutexLock lock(mutex_);
        if (arrived_.empty()) {
          storing_ = false;
          return FinishIfAllIsStored();
        }
        arrived = std::move(arrived_.front());
        arrived_.pop_front();
      }
      const absl::Status status = StoreOne(ToString(arrived.bytes));
      arrived.bytes.Clear();
      arrived.share.Release();
      if (!status.ok()) return End(status);
      bool ask;
      {
        MutexLock lock(mutex_);
        if (finished_) return;
        Acknowledge();
        ask = !asking_ && !ended_;
        asking_ = asking_ || ask;
      }
      if (ask) Read(core_.chunks);
    }
  }

  absl::Status StoreOne(const std::string& bytes) {
    DS_ASSIGN_OR_RETURN(const Chunk chunk, DecodeChunk(bytes));
    if (digest_.empty()) {
      if (chunk.digest.empty() || chunk.size < 0)
        return absl::InvalidArgumentError("an upload's first chunk says no digest or no size");
      digest_ = chunk.digest;
      size_ = chunk.size;
    }
    const auto count = static_cast<int64_t>(chunk.data.size());
    if (chunk.offset + count > size_)
      return absl::InvalidArgumentError(
          absl::StrCat("a chunk of ", count, " bytes at ", chunk.offset, " of a blob of ", size_));
    DS_RETURN_IF_ERROR(core_.service.Upload(
        caller(), digest_, size_, chunk.offset,
        absl::MakeConstSpan(reinterpret_cast<const std::byte*>(chunk.data.data()),
                            chunk.data.size())));
    MutexLock lock(mutex_);
    received_ = chunk.offset + count;
    return absl::OkStatus();
  }

  void Acknowledge() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || acknowledged_ == received_) return FinishIfAllIsStored();
    acknowledged_ = received_;
    Write(ToBuffer(Encode(ChunkReply{.received = received_})));
  }

  void FinishIfAllIsStored() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_ && !storing_ && !writing_ && acknowledged_ == received_) Finish(absl::OkStatus());
  }

  // Who waits for a share hears that it is not forgotten.
  void Beat(absl::Duration since_message) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (reading_ || writing_ || since_message < core_.options.sign_of_life) return;
    Write(ToBuffer(Encode(ChunkReply{.received = received_})));
  }

  bool WaitsForCaller() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return reading_ || writing_;
  }

  // Only of the one task that stores.
  std::string digest_;
  int64_t size_ = 0;

  std::deque<Arrived> arrived_ ABSL_GUARDED_BY(mutex_);
  bool storing_ ABSL_GUARDED_BY(mutex_) = false;
  bool asking_ ABSL_GUARDED_BY(mutex_) = true;  // a read is under way, or its room is asked for
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // no chunk comes any more
  int64_t received_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t acknowledged_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::shared_ptr<ServerCall> MakeUploadCall(ServerCore& core,
                                           grpc::GenericCallbackServerContext& context,
                                           CallFacts facts) {
  return std::make_shared<UploadCall>(core, context, std::move(facts));
}

}  // namespace ds::federated
