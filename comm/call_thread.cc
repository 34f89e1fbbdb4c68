#include "comm/call_thread.h"

#include <thread>
#include <utility>

#include "base/mutex.h"

namespace ds {

// Shared with the thread, which may outlive its owner.
struct CallThread::State {
  Mutex mutex;
  CondVar changed;
  std::function<void()> call ABSL_GUARDED_BY(mutex);  // to be made
  bool busy ABSL_GUARDED_BY(mutex) = false;           // it has not returned
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  bool lost ABSL_GUARDED_BY(mutex) = false;
};

CallThread::CallThread() : state_(std::make_shared<State>()) {
  std::thread([state = state_] { Serve(state); }).detach();
}

CallThread::~CallThread() {
  const MutexLock lock(state_->mutex);
  state_->stopping = true;
  state_->changed.NotifyAll();
}

void CallThread::Serve(const std::shared_ptr<State>& state) {
  const MutexLock lock(state->mutex);
  while (true) {
    while (!state->stopping && state->call == nullptr) state->changed.Wait(state->mutex);
    if (state->call == nullptr) return;
    std::function<void()> call = std::exchange(state->call, nullptr);
    {
      const MutexUnlock unlocked(state->mutex);
      call();
      // What it holds goes before its return is seen: the caller may be the one who is to let go
      // last.
      call = nullptr;
    }
    state->busy = false;
    state->changed.NotifyAll();
  }
}

bool CallThread::Run(std::function<void()> call, Deadline deadline) {
  const MutexLock lock(state_->mutex);
  if (state_->lost) return false;
  state_->call = std::move(call);
  state_->busy = true;
  state_->changed.NotifyAll();
  Patience patience(deadline);
  while (state_->busy && !patience.IsOver())
    state_->changed.WaitUntil(state_->mutex, patience.NextLook());
  state_->lost = state_->busy;
  return !state_->lost;
}

}  // namespace ds
