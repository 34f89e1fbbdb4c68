// Memory for activations: aligned, zeroed by being written, so that its pages are there before the
// first run; with the bytes behind its end that kernels may read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {

class Buffer {
 public:
  // Whether there was so much memory.
  bool Allocate(int64_t bytes) {
    const auto size = static_cast<size_t>(RoundUp(bytes, 64) + kReadSlack + 64);
    memory_.reset(std::malloc(size));
    if (memory_ == nullptr) return false;
    std::memset(memory_.get(), 0, size);
    void* at = memory_.get();
    size_t space = size;
    data_ = static_cast<std::byte*>(
        std::align(64, size - 64, at, space));  // malloc gives 16 bytes' alignment
    return true;
  }
  std::byte* data() const { return data_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;
  std::byte* data_ = nullptr;
};

}  // namespace ds::engine
