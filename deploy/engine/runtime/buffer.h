// Memory for activations: aligned, with the bytes behind its end that kernels may read. Reserved
// for the largest shape; what a shape uses is written with zeros before it first runs, so that its
// pages are there by then and those of larger shapes take no memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/pages.h"

namespace ds::engine {

class Buffer {
 public:
  // Whether there was so much memory.
  bool Reserve(int64_t bytes) {
    const size_t size = static_cast<size_t>(RoundUp(bytes, 64) + kReadSlack) + 64;
    memory_.reset(std::malloc(size));
    if (memory_ == nullptr) return false;
    void* at = memory_.get();
    size_t space = size;
    data_ = static_cast<std::byte*>(
        std::align(64, size - 64, at, space));  // malloc gives 16 bytes' alignment
    return true;
  }
  // Makes the first `bytes`, and the slack behind them, ready. No more than were reserved.
  void Touch(int64_t bytes) {
    const auto end = static_cast<size_t>(RoundUp(bytes, 64) + kReadSlack);
    if (end <= touched_) return;
    PopulatePages(data_ + touched_, end - touched_, PageUse::kWrite);
    std::memset(data_ + touched_, 0, end - touched_);
    touched_ = end;
  }
  std::byte* data() const { return data_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::byte* data_ = nullptr;
  size_t touched_ = 0;
};

}  // namespace ds::engine
