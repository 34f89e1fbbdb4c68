#include "comm/call_thread.h"

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

namespace ds {

// Shared with the thread, which may outlive its owner. All guarded by `mutex`.
struct CallThread::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::function<void()> call;  // to be made
  bool busy = false;           // it has not returned
  bool stopping = false;
  bool lost = false;
};

CallThread::CallThread() : state_(std::make_shared<State>()) {
  std::thread([state = state_] { Serve(state); }).detach();
}

CallThread::~CallThread() {
  std::lock_guard lock(state_->mutex);
  state_->stopping = true;
  state_->changed.notify_all();
}

void CallThread::Serve(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (true) {
    state->changed.wait(lock, [&] { return state->stopping || state->call != nullptr; });
    if (state->call == nullptr) return;
    std::function<void()> call = std::exchange(state->call, nullptr);
    lock.unlock();
    call();
    // What it holds goes before its return is seen: the caller may be the one who is to let go
    // last.
    call = nullptr;
    lock.lock();
    state->busy = false;
    state->changed.notify_all();
  }
}

bool CallThread::Run(std::function<void()> call, Deadline deadline) {
  const auto done = [this] { return !state_->busy; };
  std::unique_lock lock(state_->mutex);
  if (state_->lost) return false;
  state_->call = std::move(call);
  state_->busy = true;
  state_->changed.notify_all();
  state_->lost = !state_->changed.wait_until(lock, deadline.Moment(), done);
  return !state_->lost;
}

}  // namespace ds
