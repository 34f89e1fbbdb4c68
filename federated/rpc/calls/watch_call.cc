#include <memory>
#include <string>
#include <utility>

#include "federated/rpc/buffers.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/wire/codec.h"

namespace ds::federated {
namespace {

// The stream of a site's situations: one on its way, and the newest that waits.
class WatchCall : public ServerCall {
 public:
  using ServerCall::ServerCall;

  void Begin() override { Read(core_.requests); }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      ReadIsDone();
      Progress();
      incoming_.Clear();
      share_.Release();
      if (!ok) return Finish(absl::InvalidArgumentError("a call without its message"));
    }
    core_.pool.Submit(
        [self = std::static_pointer_cast<WatchCall>(shared_from_this())] { self->Subscribe(); });
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(mutex_);
    WriteIsDone();
    Progress();
    if (!ok) return Finish(absl::CancelledError("the caller went away"));
    WriteNext();
  }

 private:
  void Subscribe() {
    // Weak: the subscription is this call's, and must not keep it.
    std::weak_ptr<WatchCall> weak = std::static_pointer_cast<WatchCall>(shared_from_this());
    auto subscription = core_.service.Watch(caller(), [weak](const Situation& situation) {
      const std::shared_ptr<WatchCall> self = weak.lock();
      if (self != nullptr) self->Changed(situation);
    });
    if (!subscription.ok()) return End(subscription.status());
    MutexLock lock(mutex_);
    // Where the call has ended meanwhile, nobody would let go of it.
    if (!finished_) subscription_ = *std::move(subscription);
  }

  void Changed(const Situation& situation) {
    std::string bytes = EncodeSituation(situation, facts_.version);
    MutexLock lock(mutex_);
    if (situation.number < newest_) return;
    newest_ = situation.number;
    next_ = std::move(bytes);
    has_next_ = true;
    if (!writing_) WriteNext();
  }

  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!has_next_) return;
    has_next_ = false;
    Progress();
    Write(ToBuffer(next_));
  }

  void Beat(absl::Duration since_message) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || reading_ || since_message < core_.options.sign_of_life) return;
    Progress();
    if (facts_.version >= 2) {
      Write(ToBuffer(EncodeSignOfLife()));
    } else if (!next_.empty()) {
      Write(ToBuffer(next_));
    }
  }

  void LetGo() override {
    std::unique_ptr<Subscription> last;  // ends without the lock, which Changed takes
    MutexLock lock(mutex_);
    last = std::move(subscription_);
  }

  bool WaitsForCaller() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return reading_ || writing_;
  }

  std::unique_ptr<Subscription> subscription_ ABSL_GUARDED_BY(mutex_);
  uint64_t newest_ ABSL_GUARDED_BY(mutex_) = 0;
  std::string next_ ABSL_GUARDED_BY(mutex_);  // the newest situation, written or not
  bool has_next_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::shared_ptr<ServerCall> MakeWatchCall(ServerCore& core,
                                          grpc::GenericCallbackServerContext& context,
                                          CallFacts facts) {
  return std::make_shared<WatchCall>(core, context, std::move(facts));
}

}  // namespace ds::federated
