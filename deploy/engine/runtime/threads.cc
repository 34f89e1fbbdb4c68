#include "deploy/engine/runtime/threads.h"

#include <cstdlib>

#include "deploy/engine/runtime/pages.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ds::engine {
namespace {

// Multiply-accumulates or elements that are not worth waking anyone for: some 10 microseconds.
constexpr int64_t kTooLittle = 1 << 15;
constexpr int kPauses = 400;  // some 10 microseconds awake

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Waits until the value is another one.
void Await(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kPauses; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    Pause();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

void Threads::FreeDeleter::operator()(void* pointer) const { std::free(pointer); }

Threads::Threads(int count) : claimed_(static_cast<size_t>(count)) {
  for (int i = 1; i < count; ++i) workers_.emplace_back([this, i] { Work(i); });
}

bool Threads::Reserve(int64_t scratch_bytes) {
  const int64_t bytes = RoundUp(scratch_bytes, 64) + 64;
  if (bytes <= scratch_bytes_) return true;
  scratch_.reset(std::aligned_alloc(64, static_cast<size_t>(bytes * count())));
  scratch_bytes_ = scratch_ == nullptr ? 0 : bytes;
  if (scratch_ == nullptr) return false;
  PopulatePages(scratch_.get(), static_cast<size_t>(bytes * count()), PageUse::kWrite);
  return true;
}

Threads::~Threads() {
  stop_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

bool Threads::Claim(int part, uint32_t round) {
  uint32_t last = round - 1;
  return claimed_[static_cast<size_t>(part)].compare_exchange_strong(last, round,
                                                                     std::memory_order_acq_rel);
}

void Threads::RunPart(const Step& step, int part) {
  const int64_t units = step.units();
  const Range range = {static_cast<int32_t>(units * part / count()),
                       static_cast<int32_t>(units * (part + 1) / count())};
  if (range.begin < range.end)
    step.Run(range, static_cast<char*>(scratch_.get()) + part * scratch_bytes_);
}

void Threads::Run(const Step& step) {
  if (const auto parts = step.parts(); !parts.empty()) {
    for (const auto& part : parts) Run(*part);
    return;
  }
  if (workers_.empty() || step.work() < kTooLittle || step.units() == 1) {
    step.Run({0, step.units()}, scratch_.get());
    return;
  }
  step_ = &step;
  unfinished_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  const uint32_t round = round_.fetch_add(1, std::memory_order_release) + 1;
  round_.notify_all();
  RunPart(step, 0);
  for (int part = 1; part < count(); ++part) {
    if (!Claim(part, round)) continue;
    RunPart(step, part);
    unfinished_.fetch_sub(1, std::memory_order_relaxed);
  }
  for (uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;)
    Await(unfinished_, left);
}

void Threads::Work(int number) {
  for (uint32_t seen = 0;;) {
    Await(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    if (!Claim(number, seen)) continue;  // the caller has it, and may be at another step
    RunPart(*step_, number);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

}  // namespace ds::engine
