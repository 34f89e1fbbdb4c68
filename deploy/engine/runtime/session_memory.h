// Memory for activations and ports, side by side in one mapping: aligned, each part with the bytes
// behind its end that kernels may read. Reserved for the largest shape; what a shape uses is there,
// zeros, before it first runs, and what larger shapes use takes no memory until then.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/pages.h"

namespace ds::engine {

class SessionMemory {
 public:
  // Whether there was so much memory. `whole`: all of it will be used, so that the system may serve
  // it in large pages.
  bool Reserve(std::span<const int64_t> bytes, bool whole) {
    size_t all = 0;
    for (const int64_t part : bytes) all += SizeOf(part);
    if (!kWatchedHeap && !Add(all, whole)) return false;
    size_t at = 0;
    for (const int64_t part : bytes) {
      if (kWatchedHeap && !Add(SizeOf(part), false)) return false;
      parts_.push_back({pages_.back().data() + (kWatchedHeap ? 0 : at), 0});
      at += SizeOf(part);
    }
    return true;
  }
  std::byte* part(size_t i) const { return parts_[i].data; }
  // Makes the first `bytes` of a part, and the slack behind them, ready. No more than were
  // reserved.
  void Touch(size_t i, int64_t bytes) {
    Part& part = parts_[i];
    const size_t end = SizeOf(bytes);
    if (end <= part.touched) return;
    PopulatePages(part.data + part.touched, end - part.touched, PageUse::kWrite);
    part.touched = end;
  }

 private:
  struct Part {
    std::byte* data;
    size_t touched;
  };
  static size_t SizeOf(int64_t bytes) {
    return static_cast<size_t>(RoundUp(bytes, 64) + kReadSlack);
  }
  bool Add(size_t bytes, bool whole) { return pages_.emplace_back(bytes, whole).data() != nullptr; }

  std::vector<ZeroPages> pages_;
  std::vector<Part> parts_;
};

}  // namespace ds::engine
