// A thread for calls that may never return: whoever waits for one has a deadline all the same.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"

namespace ds {

class CallThread {
 public:
  CallThread();
  // Waits for nothing: a call that never returned keeps the thread, which is left to itself.
  ~CallThread();
  CallThread(const CallThread&) = delete;
  CallThread& operator=(const CallThread&) = delete;

  // Runs `call` on the thread and waits until it has returned or `deadline` is past. False in the
  // second case: the thread is lost, and every later Run returns false at once. The call may then
  // still go on, or do so later, so it must own or share all it touches. One caller at a time.
  bool Run(std::function<void()> call, Deadline deadline);

 private:
  struct State;
  static void Serve(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
};

}  // namespace ds
