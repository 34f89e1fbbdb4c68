// Threads that share one step after another. They sleep while nothing runs, and between steps wait
// a few microseconds awake before they sleep. Each has a part of every step; what one that wakes
// late has not begun when the caller is through with its own, the caller does. With one thread
// there is no other than the caller's.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

class Threads {
 public:
  // `count` threads, the caller's included.
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // At least so many bytes of scratch for each, from the next step on; whether there was so much
  // memory. Never while a step runs.
  bool Reserve(int64_t scratch_bytes);
  // Returns when all of the step is done. One caller at a time.
  void Run(const Step& step);
  int count() const { return static_cast<int>(workers_.size()) + 1; }
  // Of all threads.
  int64_t scratch_bytes() const { return scratch_bytes_ * count(); }

 private:
  void Work(int number);
  // Whether the part of this round is the calling thread's to run: each is once a round.
  bool Claim(int part, uint32_t round);
  void RunPart(const Step& step, int part);

  struct FreeDeleter {
    void operator()(void* pointer) const;
  };
  int64_t scratch_bytes_ = 0;
  std::unique_ptr<void, FreeDeleter> scratch_;
  const Step* step_ = nullptr;  // read by who has claimed a part of it
  std::atomic<bool> stop_{false};
  std::atomic<uint32_t> round_{0};  // raised when step_ or stop_ is set
  std::atomic<uint32_t> unfinished_{0};
  std::vector<std::atomic<uint32_t>> claimed_;  // of each part, the last round
  std::vector<std::thread> workers_;
};

}  // namespace ds::engine
