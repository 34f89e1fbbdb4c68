#include "deploy/engine/runtime/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace ds::engine {
namespace {

// Linux 5.14; the C library's headers may be older than the system.
constexpr int kPopulateWrite = 23;
constexpr uintptr_t kFaultAround = 64 << 10;
constexpr size_t kLargePage = size_t{2} << 20;

}  // namespace

ZeroPages::ZeroPages(size_t bytes, bool large) : memory_(nullptr, Unmap{0}) {
  // Whole large pages, and one more where what is left fills most of it.
  const size_t in_large =
      large && !kWatchedHeap ? (bytes + kLargePage / 4) / kLargePage * kLargePage : 0;
  const size_t alignment = in_large > 0 ? kLargePage : 64;
  const size_t taken = std::max(bytes, in_large) + alignment;
  void* memory = kWatchedHeap ? std::calloc(taken, 1)
                              : ::mmap(nullptr, taken, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == nullptr || memory == MAP_FAILED) return;
  memory_ = {memory, Unmap{taken}};
  const auto address = reinterpret_cast<uintptr_t>(memory);
  data_ = reinterpret_cast<std::byte*>((address + alignment - 1) / alignment * alignment);
#if defined(MADV_HUGEPAGE)
  if (in_large > 0) ::madvise(data_, in_large, MADV_HUGEPAGE);
#endif
}

void ZeroPages::Unmap::operator()(void* memory) const {
  kWatchedHeap ? std::free(memory) : static_cast<void>(::munmap(memory, bytes));
}

void PopulatePages(const void* first, size_t bytes, PageUse use) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(first);
  const uintptr_t begin = address / page * page, end = address + bytes;
  if (use == PageUse::kWrite) {
#if defined(__linux__)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, kPopulateWrite);
#endif
    return;
  }
  // The system maps what it has cached around a page that is missed: half as much work as asking
  // for each. Then those that it left out.
  for (const uintptr_t step : {kFaultAround, page}) {
    for (uintptr_t at = begin; at < end; at = (at / step + 1) * step)
      static_cast<void>(*reinterpret_cast<const volatile char*>(at));
  }
}

}  // namespace ds::engine
